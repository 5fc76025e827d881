from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEVERITY_UNSPECIFIED: _ClassVar[Severity]
    SEVERITY_NOTE: _ClassVar[Severity]
    SEVERITY_WARNING: _ClassVar[Severity]
    SEVERITY_ERROR: _ClassVar[Severity]

class Concern(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONCERN_UNSPECIFIED: _ClassVar[Concern]
    CONCERN_DAEMON: _ClassVar[Concern]
    CONCERN_RUN: _ClassVar[Concern]
    CONCERN_DEVICE: _ClassVar[Concern]
    CONCERN_DISK: _ClassVar[Concern]
    CONCERN_MEMORY: _ClassVar[Concern]
    CONCERN_CONNECTION: _ClassVar[Concern]
    CONCERN_SETTING: _ClassVar[Concern]
SEVERITY_UNSPECIFIED: Severity
SEVERITY_NOTE: Severity
SEVERITY_WARNING: Severity
SEVERITY_ERROR: Severity
CONCERN_UNSPECIFIED: Concern
CONCERN_DAEMON: Concern
CONCERN_RUN: Concern
CONCERN_DEVICE: Concern
CONCERN_DISK: Concern
CONCERN_MEMORY: Concern
CONCERN_CONNECTION: Concern
CONCERN_SETTING: Concern

class DiagnoseRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DiagnoseResponse(_message.Message):
    __slots__ = ("facts", "findings")
    FACTS_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    facts: DaemonFacts
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    def __init__(self, facts: _Optional[_Union[DaemonFacts, _Mapping]] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ...) -> None: ...

class DaemonFacts(_message.Message):
    __slots__ = ("version", "uptime_seconds", "now", "ready", "device", "memory_used_bytes", "memory_limit_bytes", "runs_open", "runs_limit", "snapshots_waiting", "disks")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    RUNS_OPEN_FIELD_NUMBER: _ClassVar[int]
    RUNS_LIMIT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_WAITING_FIELD_NUMBER: _ClassVar[int]
    DISKS_FIELD_NUMBER: _ClassVar[int]
    version: str
    uptime_seconds: float
    now: float
    ready: bool
    device: str
    memory_used_bytes: int
    memory_limit_bytes: int
    runs_open: int
    runs_limit: int
    snapshots_waiting: int
    disks: _containers.RepeatedCompositeFieldContainer[DiskFacts]
    def __init__(self, version: _Optional[str] = ..., uptime_seconds: _Optional[float] = ..., now: _Optional[float] = ..., ready: bool = ..., device: _Optional[str] = ..., memory_used_bytes: _Optional[int] = ..., memory_limit_bytes: _Optional[int] = ..., runs_open: _Optional[int] = ..., runs_limit: _Optional[int] = ..., snapshots_waiting: _Optional[int] = ..., disks: _Optional[_Iterable[_Union[DiskFacts, _Mapping]]] = ...) -> None: ...

class DiskFacts(_message.Message):
    __slots__ = ("purpose", "folder", "free_bytes", "size_bytes")
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    purpose: str
    folder: str
    free_bytes: int
    size_bytes: int
    def __init__(self, purpose: _Optional[str] = ..., folder: _Optional[str] = ..., free_bytes: _Optional[int] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("code", "severity", "concern", "subject", "what", "action", "count", "last", "detail")
    CODE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    CONCERN_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    code: str
    severity: Severity
    concern: Concern
    subject: str
    what: str
    action: str
    count: int
    last: float
    detail: str
    def __init__(self, code: _Optional[str] = ..., severity: _Optional[_Union[Severity, str]] = ..., concern: _Optional[_Union[Concern, str]] = ..., subject: _Optional[str] = ..., what: _Optional[str] = ..., action: _Optional[str] = ..., count: _Optional[int] = ..., last: _Optional[float] = ..., detail: _Optional[str] = ...) -> None: ...
