"""The daemon for a client that has only grpcio: reflection, calls without generated code, health."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from real import RealDaemon, channel, needs_daemon

pytestmark = needs_daemon

SERVICES = {"clino.v1.Runs", "clino.v1.Snapshots", "clino.v1.Reports"}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealDaemon]:
    daemon = RealDaemon(tmp_path_factory.mktemp("daemon"))
    yield daemon
    daemon.stop()


class Generic:
    """Calls any unary method by its name, with dictionaries."""

    def __init__(self, open_channel: grpc.Channel) -> None:
        from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

        self.database: Any = ProtoReflectionDescriptorDatabase(open_channel)
        self.pool = descriptor_pool.DescriptorPool(self.database)
        self._channel = open_channel

    def call(self, service: str, method: str, **fields: Any) -> Any:
        found = self.pool.FindServiceByName(service).FindMethodByName(method)
        request = message_factory.GetMessageClass(found.input_type)
        response = message_factory.GetMessageClass(found.output_type)
        call = self._channel.unary_unary(f"/{service}/{method}", request.SerializeToString, response.FromString)
        return call(request(**fields), timeout=10)


def test_services_are_listed_and_described(real: RealDaemon) -> None:
    with channel(real.tcp) as plain:
        generic = Generic(plain)
        assert SERVICES | {"grpc.health.v1.Health"} <= set(generic.database.get_services())
        methods = generic.pool.FindServiceByName("clino.v1.Runs").methods_by_name
        assert {"OpenRun", "PutProbe", "GetRun", "ListRuns", "CloseRun", "ListMeasures"} <= set(methods)
        push = generic.pool.FindServiceByName("clino.v1.Snapshots").FindMethodByName("PushSnapshot")
        assert push.client_streaming
        assert not push.server_streaming


def test_methods_are_called_without_generated_code(real: RealDaemon) -> None:
    with channel(real.tcp) as plain:
        generic = Generic(plain)
        catalogue = {measure.name: measure for measure in generic.call("clino.v1.Runs", "ListMeasures").measures}
        assert {"loss", "margin", "sharpness"} <= set(catalogue)
        alpha = next(one for one in catalogue["sharpness"].parameters if one.name == "alpha")
        assert alpha.standard.number == 0.001
        assert len(generic.call("clino.v1.Runs", "ListRuns").runs) == 0
        with pytest.raises(grpc.RpcError) as error:
            generic.call("clino.v1.Runs", "GetRun", run_id="nobody")
        assert error.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_wrong_field_is_named_in_the_details(real: RealDaemon) -> None:
    from grpc_status import rpc_status  # type: ignore[import-untyped,unused-ignore]

    with channel(real.tcp) as plain:
        generic = Generic(plain)
        with pytest.raises(grpc.RpcError) as error:
            generic.call(
                "clino.v1.Runs",
                "OpenRun",
                idempotency_key="k",
                name="generic",
                config_json="{",
                groups=[{"name": "en", "probe": {"tensors": []}}],
                delivery="DELIVERY_LATEST",
                precision="PRECISION_AUTO",
            )
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        status = rpc_status.from_call(_call(error.value))
        assert status is not None
        fields = [violation.field for detail in status.details for violation in _bad_request(detail).field_violations]
        assert any(field.startswith("config_json") for field in fields), fields


@pytest.mark.parametrize("service", ["", *sorted(SERVICES)])
def test_health(real: RealDaemon, service: str) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    stub_of: Any = health_pb2_grpc.HealthStub

    with channel(real.tcp) as plain:
        answer = stub_of(plain).Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def _call(error: Any) -> Any:
    """A failed call is both its error and itself, which the types do not say."""
    return error


def _bad_request(detail: Any) -> Any:
    from google.rpc import error_details_pb2

    found = error_details_pb2.BadRequest()
    detail.Unpack(found)
    return found
