//! What goes wrong with a history: as it is opened, and between rows and values.
//!
//! Owns: what each of it means to the waiting caller. May not touch: the database.

use clino_domain::{Fault, FaultKind};
use rusqlite::ErrorCode;

/// Why a database was not opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// It is damaged: another one takes its place.
    Damaged(String),
    /// Whatever it is, it stays.
    Fault(Fault),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                let description = "another process holds a lock on the database: close the program that has it \
                                  open";
                Self::Fault(Fault::field(FaultKind::Exists, "data", description))
            }
            _ => Self::Fault(Fault::internal(format!("the history cannot be opened: {error}"))),
        }
    }
}

/// What goes wrong between rows and values.
#[derive(Debug)]
pub(super) enum RowError {
    /// The database, or the disk below it.
    Database(rusqlite::Error),
    /// The disk below the files of tensors.
    Disk(std::io::Error),
    /// What was read or is to be written.
    Fault(Fault),
}

impl From<rusqlite::Error> for RowError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<std::io::Error> for RowError {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<Fault> for RowError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl RowError {
    /// Whether it is of what is to be written and stays however often that is tried: of a row that the database refuses, or
    /// of a value that has no form there.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Fault(_) => true,
            Self::Disk(error) => error.kind() == std::io::ErrorKind::Other,
            Self::Database(rusqlite::Error::ToSqlConversionFailure(_)) => true,
            Self::Database(error) => matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::ConstraintViolation
                        | ErrorCode::TooBig
                        | ErrorCode::TypeMismatch
                        | ErrorCode::ParameterOutOfRange
                )
            ),
        }
    }

    /// The fault for a caller that wanted to read.
    pub fn reading(self) -> Fault {
        match self {
            Self::Database(error) => {
                Fault::new(FaultKind::Unavailable, format!("the history cannot be read: {error}"))
            }
            Self::Disk(error) => {
                Fault::new(FaultKind::Unavailable, format!("the history cannot be read: {error}"))
            }
            Self::Fault(fault) => fault,
        }
    }

    /// The fault for a caller that wanted to store something: a full disk may have room again.
    pub fn writing(&self) -> Fault {
        let full = match self {
            Self::Database(error) => error.sqlite_error_code() == Some(ErrorCode::DiskFull),
            Self::Disk(error) => {
                matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
            }
            Self::Fault(_) => false,
        };
        let kind = if full { FaultKind::Exhausted } else { FaultKind::Unavailable };
        let why = match self {
            Self::Database(error) => error.to_string(),
            Self::Disk(error) => error.to_string(),
            Self::Fault(fault) => fault.to_string(),
        };
        Fault::new(kind, format!("the history cannot be written: {why}"))
    }
}
