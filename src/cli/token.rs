//! `clino token`: a new token, and its entry of the tokens file.
//!
//! Owns: the form of the entry as it is printed. May not touch: a token after it was printed; only its hash is kept.

use super::given;
use super::out::print;
use crate::access::{Book, Scope, Token};
use clap::Args;
use clino_domain::{Fault, FaultKind};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tokio_rustls::rustls::crypto::ring::default_provider;

/// Creates a token and prints it, once.
#[derive(Debug, Clone, Args)]
pub struct TokenArguments {
    /// Name of its holder, for the tokens file and the audit log.
    name: String,
    /// Permissions: a project (or * for projects without an entry) and push, read, decide or admin. May be repeated.
    /// [default: *=push,read]
    #[arg(long = "project", value_name = "PROJECT=SCOPE,…", value_parser = line)]
    projects: Vec<(String, Vec<Scope>)>,
    /// When it expires: a day such as 2027-12-31, or a time in UTC such as 2027-12-31T12:00:00Z.
    #[arg(long, value_name = "DATE")]
    expires: Option<String>,
    /// Append the entry to this tokens file (created if missing) and print only the token.
    #[arg(long, value_name = "FILE")]
    append: Option<PathBuf>,
}

fn line(text: &str) -> Result<(String, Vec<Scope>), String> {
    let (project, scopes) = text.rsplit_once('=').ok_or("expected PROJECT=SCOPE,…")?;
    let scopes =
        scopes.split(',').filter(|scope| !scope.is_empty()).map(str::parse).collect::<Result<_, _>>()?;
    Ok((project.to_owned(), scopes))
}

/// Prints the token, and the entry unless it was appended.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] for a name, project or date that no tokens file can hold, or a file that cannot
/// be appended to.
pub fn run(arguments: TokenArguments) -> Result<(), Fault> {
    let mut random = [0; 32];
    let filled = default_provider().secure_random.fill(&mut random);
    filled.map_err(|_| Fault::internal("the system returned no random bytes"))?;
    let token = Token::new(&random);
    let entry = entry(&arguments, &token);
    // What the daemon would refuse is refused here.
    Book::parse(entry.as_bytes())?;
    match &arguments.append {
        Some(file) => {
            append(file, &entry)?;
            print(&format!("{}\n", token.reveal()))
        }
        None => print(&format!("{}\n\n{entry}\n", token.reveal())),
    }
}

fn entry(arguments: &TokenArguments, token: &Token) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let mut entry = format!("[[entry]]\nname = {}\nhash = \"{}\"\n", text(&arguments.name), token.hash());
    let standard = [("*".to_owned(), vec![Scope::Push, Scope::Read])];
    let projects = if arguments.projects.is_empty() { &standard[..] } else { &arguments.projects[..] };
    let line = |(project, scopes): &(String, Vec<Scope>)| {
        let scopes: Vec<_> = scopes.iter().map(|scope| text(scope.name())).collect();
        format!("{} = [{}]", text(project), scopes.join(", "))
    };
    let lines: Vec<_> = projects.iter().map(line).collect();
    let _ = writeln!(entry, "projects = {{ {} }}", lines.join(", "));
    if let Some(expires) = &arguments.expires {
        let _ = writeln!(entry, "expires = {expires}");
    }
    entry
}

fn append(file: &Path, entry: &str) -> Result<(), Fault> {
    let wrong = |error: std::io::Error| Fault::invalid("append", format!("{}: {error}", file.display()));
    let before = match given::bytes(file) {
        Ok(bytes) => bytes,
        Err(fault) if fault.kind == FaultKind::NotFound => Vec::new(),
        Err(fault) => return Err(Fault::invalid("append", format!("{}: {}", file.display(), fault.message))),
    };
    let added = format!("{}{entry}", if before.is_empty() { "" } else { "\n" });
    Book::parse(&[&before, added.as_bytes()].concat())?;
    let mut opened = OpenOptions::new().append(true).create(true).mode(0o600).open(file).map_err(wrong)?;
    opened.write_all(added.as_bytes()).map_err(wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn arguments(name: &str, projects: &[&str]) -> TokenArguments {
        let projects = projects.iter().map(|text| line(text).unwrap()).collect();
        TokenArguments { name: name.into(), projects, expires: None, append: None }
    }

    #[test]
    fn entries_are_what_the_daemon_reads() {
        let token = Token::new(&[3; 32]);
        let mut some = arguments("a b", &["vision=push,read", "*=read", "closed="]);
        some.expires = Some("2030-01-01".into());
        let text = entry(&some, &token);
        assert!(
            text.contains(r#"projects = { "vision" = ["push", "read"], "*" = ["read"], "closed" = [] }"#),
            "{text}"
        );
        assert_eq!(Book::parse(text.as_bytes()).unwrap().len(), 1);
        assert!(!text.contains(token.reveal()));
        some.expires = Some("soon".into());
        assert!(Book::parse(entry(&some, &token).as_bytes()).is_err());
        assert!(line("vision").is_err() && line("vision=write").is_err());
    }

    #[test]
    fn a_file_is_made_for_its_owner_and_a_name_is_taken_once() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens.toml");
        for name in ["a", "b"] {
            append(&file, &entry(&arguments(name, &[]), &Token::new(&[name.as_bytes()[0]; 32]))).unwrap();
        }
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Book::parse(&std::fs::read(&file).unwrap()).unwrap().len(), 2);
        let again = append(&file, &entry(&arguments("a", &[]), &Token::new(&[9; 32])));
        assert!(again.unwrap_err().message.contains("two entries"));
        assert_eq!(Book::parse(&std::fs::read(&file).unwrap()).unwrap().len(), 2);
    }
}
