//! Who may do what, and how much of it: identities and scopes, quotas, the audit log.
//!
//! Owns: the files that say so and their reloading, who somebody is, what a project has used. May not touch: requests,
//! sockets, TLS.

mod audit;
mod authenticator;
mod grants;
mod mint;
mod peer;
mod quotas;
mod tokens;
mod watched;

pub use audit::{Audit, Record};
pub use authenticator::{Authenticator, Credential, Identity, Settings};
pub use grants::{Grants, Scope};
pub use mint::{Token, hashed};
pub use peer::{Certificate, Origin, Peer};
pub use quotas::{Hold, Quotas, UploadSlot, WINDOW};
pub use tokens::Book;
pub use watched::{Reload, Watched};

#[cfg(test)]
mod tests;
