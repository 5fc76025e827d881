//! The tokens file: who there is, how they are known, what they may do.
//!
//! Owns: its grammar and its file mode. May not touch: tokens themselves; the file holds hashes.

use super::grants::{EVERY_PROJECT, Grants, Scope};
use super::mint::{PREFIX, unhex};
use clino_domain::Fault;
use clino_domain::text::{check_name, quoted};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// Name of the file in faults.
const FIELD: &str = "tokens";
/// Bits of a mode that nobody but owner and group may have, and the one that not even the group may.
const OTHERS: u32 = 0o007;
const GROUP_WRITES: u32 = 0o020;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTokens {
    #[serde(default)]
    entry: Vec<RawEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    name: String,
    hash: Option<Several>,
    certificate: Option<Several>,
    uid: Option<u32>,
    projects: BTreeMap<String, Vec<Scope>>,
    expires: Option<toml::value::Datetime>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Several {
    One(String),
    Many(Vec<String>),
}

impl Several {
    fn all(several: Option<Self>) -> Vec<String> {
        match several {
            None => Vec::new(),
            Some(Self::One(text)) => vec![text],
            Some(Self::Many(texts)) => texts,
        }
    }
}

/// An entry of the tokens file.
#[derive(Debug)]
pub(super) struct TokenHolder {
    pub name: String,
    pub hashes: Vec<[u8; 32]>,
    pub certificates: Vec<String>,
    pub uid: Option<u32>,
    pub grants: Arc<Grants>,
    pub expires: Option<SystemTime>,
}

/// All entries of the tokens file.
#[derive(Debug, Default)]
pub struct Book(Vec<TokenHolder>);

impl Book {
    /// Reads the text of a tokens file.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming the line or entry. No value of the file is repeated: somebody may have
    /// put a token there by mistake.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let wrong = |why: String| Fault::invalid(FIELD, why);
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("expected UTF-8".into()))?;
        let raw: RawTokens = toml::from_str(text).map_err(|error| wrong(told(text, &error)))?;
        let entries: Vec<TokenHolder> = raw.entry.into_iter().map(entry).collect::<Result<_, _>>()?;
        let mut seen = BTreeSet::new();
        for entry in &entries {
            let ways = entry.hashes.iter().map(|hash| format!("hash {hash:?}"));
            let ways = ways.chain(entry.certificates.iter().map(|name| format!("certificate {name}")));
            let ways = ways.chain(entry.uid.map(|uid| format!("uid {uid}")));
            for way in ways.chain([format!("name {}", entry.name)]) {
                if !seen.insert(way) {
                    let name = quoted(&entry.name);
                    return Err(wrong(format!(
                        "entry {name}: its name, hash, certificate or uid is in two entries"
                    )));
                }
            }
        }
        Ok(Self(entries))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds the entry with the hash of a token, in constant time.
    pub(super) fn by_hash(&self, hash: &[u8; 32]) -> Option<&TokenHolder> {
        let mut place = u64::MAX;
        for (i, entry) in self.0.iter().enumerate() {
            let same = entry.hashes.iter().map(|known| known.ct_eq(hash)).fold(Choice::from(0), |a, b| a | b);
            place.conditional_assign(&(i as u64), same);
        }
        usize::try_from(place).ok().and_then(|place| self.0.get(place))
    }

    /// Who has a certificate with one of these names; the first entry of the file where several do.
    pub(super) fn by_certificate(&self, names: &[String]) -> Option<&TokenHolder> {
        self.0.iter().find(|entry| entry.certificates.iter().any(|name| names.contains(name)))
    }

    /// Who has a user id.
    pub(super) fn by_uid(&self, uid: u32) -> Option<&TokenHolder> {
        self.0.iter().find(|entry| entry.uid == Some(uid))
    }
}

/// Refuses a file that others could read, or could put themselves into.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming the mode.
pub(super) fn check_mode(path: &Path, metadata: &Metadata) -> Result<(), Fault> {
    let mode = metadata.mode() & 0o7777;
    match mode & (OTHERS | GROUP_WRITES) {
        0 => Ok(()),
        _ => {
            let file = path.display();
            let found = format!("{mode:04o}");
            let expected =
                "expected one without access for others or write access for the group, such as 0600";
            Err(Fault::invalid(FIELD, format!("{file}: found mode {found}, {expected}")))
        }
    }
}

fn entry(raw: RawEntry) -> Result<TokenHolder, Fault> {
    let RawEntry { name, hash, certificate, uid, projects, expires } = raw;
    let wrong = |why: &str| Fault::invalid(FIELD, format!("entry {}: {why}", quoted(&name)));
    check_name("name", &name).map_err(|fault| wrong(&fault.message))?;
    let digits = "hash: expected 64 hexadecimal digits, as `clino token` prints them";
    let hashes = Several::all(hash).into_iter().map(|text| unhex(&text).ok_or_else(|| wrong(digits)));
    let hashes = hashes.collect::<Result<Vec<_>, _>>()?;
    let certificates = Several::all(certificate);
    if hashes.is_empty() && certificates.is_empty() && uid.is_none() {
        return Err(wrong("expected a hash, a certificate or a uid"));
    }
    for project in projects.keys().filter(|project| *project != EVERY_PROJECT) {
        check_name("projects", project).map_err(|fault| wrong(&fault.message))?;
    }
    let expires =
        expires.map(|at| moment(&at).ok_or_else(|| wrong("expires: expected a date, or a time in UTC")));
    let expires = expires.transpose()?;
    let grants = Arc::new(Grants::new(projects));
    Ok(TokenHolder { name, hashes, certificates, uid, grants, expires })
}

/// A date is its first second.
fn moment(at: &toml::value::Datetime) -> Option<SystemTime> {
    let time = if at.time.is_some() { "" } else { "T00:00:00Z" };
    at.date?;
    humantime::parse_rfc3339_weak(&format!("{at}{time}")).ok()
}

/// Where and what, without the values that stand there.
fn told(text: &str, error: &toml::de::Error) -> String {
    let line =
        error.span().map_or(0, |span| text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
    let message = error.message().split(['"', '\n']).next().unwrap_or_default();
    let message = message.split(PREFIX).next().unwrap_or_default().trim_end();
    format!("line {}: {message}", line + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::mint::Token;
    use super::*;

    fn complaint(text: &str) -> String {
        Book::parse(text.as_bytes()).unwrap_err().message
    }

    #[test]
    fn somebody_is_found_by_token_certificate_and_user() {
        let token = Token::new(&[7; 32]);
        let text = format!(
            r#"
            [[entry]]
            name = "trainer"
            hash = ["{}", "{}"]
            projects = {{ vision = ["push", "read"], "*" = ["read"] }}
            expires = 2030-01-02
            [[entry]]
            name = "ci"
            certificate = "ci.example.org"
            uid = 1234
            projects = {{}}
            expires = 2030-01-02T03:04:05Z
            "#,
            "0".repeat(64),
            token.hash().to_uppercase(),
        );
        let book = Book::parse(text.as_bytes()).unwrap();
        let found = book.by_hash(&unhex(&token.hash()).unwrap()).unwrap();
        assert_eq!(found.name, "trainer");
        assert!(found.grants.allow("vision", Scope::Push) && !found.grants.allow("text", Scope::Push));
        assert_eq!(humantime::format_rfc3339(found.expires.unwrap()).to_string(), "2030-01-02T00:00:00Z");
        assert_eq!(book.by_hash(&[0; 32]).unwrap().name, "trainer");
        assert!(book.by_hash(&[1; 32]).is_none());
        assert_eq!(book.by_certificate(&["x".into(), "ci.example.org".into()]).unwrap().name, "ci");
        assert!(book.by_certificate(&[]).is_none() && book.by_uid(0).is_none());
        let ci = book.by_uid(1_234).unwrap();
        assert!(!ci.grants.any(Scope::Decide));
        assert_eq!(humantime::format_rfc3339(ci.expires.unwrap()).to_string(), "2030-01-02T03:04:05Z");
    }

    #[test]
    fn complaints_name_the_entry_and_repeat_no_secret() {
        let secret = Token::new(&[9; 32]);
        let secret = secret.reveal();
        let entry = |rest: &str| complaint(&format!("[[entry]]\nname = \"a\"\n{rest}\n"));
        for (text, expected) in [
            (entry(&format!("hash = \"{secret}\"\nprojects = {{}}")), "entry \"a\": hash: expected 64"),
            (entry(&format!("uid = \"{secret}\"\nprojects = {{}}")), "line 3: invalid type: string"),
            (entry("projects = {}"), "expected a hash, a certificate or a uid"),
            (entry("uid = 1"), "missing field `projects`"),
            (entry("uid = 1\nprojects = { a = [\"write\"] }"), "unknown variant `write`"),
            (entry("uid = 1\nprojects = {}\nexpires = 10:00:00"), "expires"),
            (entry("uid = 1\nprojects = {}\nexpires = 2030-01-01T00:00:00+02:00"), "expires"),
            (
                entry("uid = 1\nprojects = {}\n[[entry]]\nname = \"b\"\nuid = 1\nprojects = {}"),
                "entry \"b\": its name",
            ),
            (entry("uid = 1\nprojects = {}\ntoken = 1"), "unknown field `token`"),
            (complaint(&format!("a = {secret}")), "line 1: "),
            (complaint("[[entry]]\nname = \"\\u0007\"\nuid = 1\nprojects = {}"), "name"),
        ] {
            assert!(text.starts_with("tokens: ") && text.contains(expected), "{text}, expected {expected}");
            assert!(!text.contains(&secret[6..]), "{text}");
        }
    }

    #[test]
    fn a_file_that_others_can_use_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, good) in
            [(0o600, true), (0o400, true), (0o640, true), (0o644, false), (0o660, false), (0o602, false)]
        {
            file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
            let checked = check_mode(file.path(), &file.as_file().metadata().unwrap());
            assert_eq!(checked.is_ok(), good, "{mode:o}");
        }
    }
}
