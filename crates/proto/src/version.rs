//! Metadata by which a client and a daemon tell whether they are too far apart.

/// Key of the version of a client, as `MAJOR.MINOR.PATCH`.
pub const CLIENT: &str = "clino-client-version";
/// Key of the least version of the daemon that a client needs.
pub const NEEDED: &str = "clino-min-daemon-version";
/// The version of this crate, which is that of the daemon and of the client.
pub const OWN: &str = env!("CARGO_PKG_VERSION");
