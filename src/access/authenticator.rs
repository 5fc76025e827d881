//! Who somebody is, and whether that still holds.
//!
//! Owns: the order in which ways to be known count. May not touch: what is asked for.

use super::audit::{Audit, Record};
use super::grants::Grants;
use super::mint::hashed;
use super::peer::{Certificate, Peer};
use super::quotas::{Quotas, Table};
use super::tokens::{Book, TokenHolder, check_mode};
use super::watched::{Reload, Watched};
use clino_domain::counters::{Counter, Counters};
use clino_domain::incident::Incident;
use clino_domain::text::cut;
use clino_domain::{Fault, FaultKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// Where the files are, and how often what they say is looked at again in the middle of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The tokens file; `None`: every client may do everything.
    pub tokens: Option<PathBuf>,
    /// TOML file of quotas by project.
    pub quotas: Option<PathBuf>,
    /// File of the audit log.
    pub audit: Option<PathBuf>,
    /// Time between two looks at whether the client of a stream may still see it.
    pub recheck: Duration,
}

/// How somebody is known. A token is kept as its hash.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A token, by its SHA-256.
    Token([u8; 32]),
    /// By the certificate of the connection.
    Certificate(Arc<Certificate>),
    /// By the user of the process at the other end of a unix socket.
    User(u32),
    /// No credential.
    Nothing,
}

/// Somebody, as things stand.
#[derive(Debug, Clone)]
pub struct Identity {
    /// As the tokens file names them, or what is known instead.
    pub name: String,
    /// What they may do.
    pub grants: Arc<Grants>,
    /// Time at which the access expires, if it does.
    pub expires: Option<SystemTime>,
}

type Trusts = Box<dyn Fn(&Certificate) -> bool + Send + Sync>;
type Look = Box<dyn Fn() -> (&'static str, Reload) + Send + Sync>;

/// Knows who somebody is.
pub struct Authenticator {
    book: Option<Watched<Book>>,
    trusts: Trusts,
    /// Other files that are looked at.
    others: Vec<Look>,
    own: u32,
    changes: watch::Sender<u64>,
    counters: Arc<Counters>,
    /// Where what happens is written.
    pub audit: Audit,
    /// What projects have used.
    pub quotas: Quotas,
    /// Time between two looks in the middle of a stream.
    pub recheck: Duration,
}

impl Authenticator {
    /// Reads the files.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] naming the one that cannot be used.
    pub fn open(settings: &Settings, counters: Arc<Counters>) -> Result<Self, Fault> {
        let book = |path: &PathBuf| {
            let make = |files: &[Vec<u8>]| Book::parse(files.first().map_or(&[], Vec::as_slice));
            Watched::open("tokens", vec![path.clone()], check_mode, Box::new(make))
        };
        let table = |path: &PathBuf| {
            let make = |files: &[Vec<u8>]| Table::parse(files.first().map_or(&[], Vec::as_slice));
            Watched::open("quotas", vec![path.clone()], |_, _| Ok(()), Box::new(make))
        };
        let audit = match &settings.audit {
            Some(path) => Audit::open(path, counters.clone())?,
            None => Audit::none(counters.clone()),
        };
        Ok(Self {
            book: settings.tokens.as_ref().map(book).transpose()?,
            trusts: Box::new(|_| false),
            others: Vec::new(),
            own: rustix::process::geteuid().as_raw(),
            changes: watch::channel(0).0,
            counters,
            audit,
            quotas: Quotas::new(settings.quotas.as_ref().map(table).transpose()?),
            recheck: settings.recheck,
        })
    }

    /// Whether certificates are still to be trusted is for `trusts` to say.
    pub fn trusting(self, trusts: impl Fn(&Certificate) -> bool + Send + Sync + 'static) -> Self {
        Self { trusts: Box::new(trusts), ..self }
    }

    /// Another file is looked at together with those of the authenticator.
    pub fn watching(mut self, look: impl Fn() -> (&'static str, Reload) + Send + Sync + 'static) -> Self {
        self.others.push(Box::new(look));
        self
    }

    /// Whether there is a tokens file.
    pub fn has_tokens(&self) -> bool {
        self.book.is_some()
    }

    /// How a caller is to be known: by the token that they show, else by their connection. A token that is wrong is not
    /// made up for by a connection.
    ///
    /// # Errors
    /// [`FaultKind::Unauthenticated`] when `authorization` holds something else than a token.
    pub fn credential(&self, authorization: Option<&[u8]>, peer: &Peer) -> Result<Credential, Fault> {
        match (authorization.filter(|_| self.has_tokens()), peer) {
            (Some(text), _) => {
                let expected = "found no bearer token, expected \"Bearer\" and a token";
                bearer(text).map(|token| Credential::Token(hashed(token))).ok_or_else(|| unknown(expected))
            }
            (None, Peer::Unix { uid: Some(uid) }) => Ok(Credential::User(*uid)),
            (None, Peer::Tls { certificate: Some(certificate), .. }) => {
                Ok(Credential::Certificate(certificate.clone()))
            }
            (None, _) => Ok(Credential::Nothing),
        }
    }

    /// Who that is, now.
    ///
    /// # Errors
    /// [`FaultKind::Unauthenticated`].
    pub fn identify(&self, credential: &Credential) -> Result<Identity, Fault> {
        let book = self.book.as_ref().map(Watched::get);
        let everything =
            |name: String| Ok(Identity { name, grants: Arc::new(Grants::everything()), expires: None });
        match (credential, &book) {
            (Credential::User(uid), _) if *uid == self.own || *uid == 0 => everything(format!("uid {uid}")),
            (Credential::User(uid), book) => {
                let found = book.as_ref().and_then(|book| book.by_uid(*uid));
                current(found, "found a user without an entry in the tokens file, expected a token")
            }
            (Credential::Certificate(certificate), _) if !(self.trusts)(certificate) => {
                Err(unknown("found a certificate that has expired or is no longer trusted"))
            }
            (Credential::Certificate(certificate), None) => {
                everything(certificate.names.first().map_or_else(|| "certificate".into(), |name| cut(name)))
            }
            (Credential::Certificate(certificate), Some(book)) => {
                let found = book.by_certificate(&certificate.names);
                current(found, "found a certificate without an entry in the tokens file, expected a token")
            }
            (Credential::Token(hash), book) => {
                let found = book.as_ref().and_then(|book| book.by_hash(hash));
                current(found, "found an unknown or revoked token, expected a token of this daemon")
            }
            (Credential::Nothing, None) => everything("anybody".into()),
            (Credential::Nothing, Some(_)) => {
                Err(unknown("found none, expected \"Bearer\" and a token of this daemon (CLINO_TOKEN)"))
            }
        }
    }

    /// Rises with every change of a file: what was found before is to be found again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// How often files have changed.
    pub fn generation(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Looks at all files. Reads them, which may wait for a disk.
    pub fn look(&self) {
        let own = [self.book.as_ref().map(Watched::both), self.quotas.watched().map(Watched::both)];
        let others = self.others.iter().map(|look| look());
        let mut changed = false;
        for (what, change) in own.into_iter().flatten().chain(others) {
            changed |= self.tell(what, &change);
        }
        if changed {
            self.changes.send_modify(|generation| *generation += 1);
        }
    }

    fn tell(&self, what: &str, change: &Reload) -> bool {
        let record =
            |event, outcome| self.audit.record(&Record { event, method: what, outcome, ..Record::default() });
        match change {
            Reload::None => false,
            Reload::Fresh => {
                tracing::info!(what, "read again");
                record("reloaded", "ok");
                true
            }
            Reload::Broken(fault) => {
                let code = self.counters.note(Incident::ReloadFailed, &format!("{what}: {fault}"));
                tracing::error!(code, what, %fault, "a file is broken; what was read before still counts");
                self.counters.count(Counter::ReloadFailed);
                record("refused_reload", &fault.message);
                false
            }
        }
    }
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").field("tokens", &self.has_tokens()).finish_non_exhaustive()
    }
}

fn current(found: Option<&TokenHolder>, otherwise: &str) -> Result<Identity, Fault> {
    let entry = found.ok_or_else(|| unknown(otherwise))?;
    let name = entry.name.clone();
    let grants = entry.grants.clone();
    let expires = entry.expires;
    match expires.is_some_and(|expires| expires <= SystemTime::now()) {
        true => Err(unknown("found an expired token, expected a new one")),
        false => Ok(Identity { name, grants, expires }),
    }
}

fn unknown(description: &str) -> Fault {
    Fault::field(FaultKind::Unauthenticated, "authorization", description)
}

/// The token of `Bearer TOKEN`.
fn bearer(text: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = text.split_at_checked(text.iter().position(|byte| *byte == b' ')?)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(token)
}
