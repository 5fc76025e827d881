//! Arguments of the commands that talk to a daemon: where it is, and who asks.
//!
//! Owns: reading of the files that are named. May not touch: what is asked.

use super::{given, which};
use crate::config::{ClientAccess, client_access};
use clap::Args;
use clino_client::{Access, Client, Run};
use clino_domain::Fault;
use std::path::{Path, PathBuf};

/// Where the daemon is, and who asks.
#[derive(Debug, Clone, Args)]
pub struct ConnectArguments {
    /// Address of the daemon: http://HOST:PORT, https://HOST:PORT or unix:///PATH; also CLINO_ADDR. By default the socket
    /// on which this user's clino serve listens.
    #[arg(long, default_value_t = clino_client::endpoint::client_address())]
    addr: String,
    #[command(flatten)]
    shown: CredentialArguments,
}

/// Credentials. There is no flag for a token itself, because other users of the machine can see arguments.
#[derive(Debug, Clone, Args)]
pub struct CredentialArguments {
    /// File with the token to send; also CLINO_TOKEN_FILE, or the token itself in CLINO_TOKEN.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file of certificate authorities to trust for https://; also CLINO_CA.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// PEM file of the client certificate; also CLINO_CERT.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// PEM file of its key; also CLINO_KEY.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

impl ConnectArguments {
    /// Connects.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming a file that cannot be used, or those of [`Client::connect`].
    pub async fn connect(&self) -> Result<Client, Fault> {
        Client::connect_with(&self.addr, &self.shown.access()?).await
    }

    /// Connects, and finds the run that is meant.
    ///
    /// # Errors
    /// Those of [`ConnectArguments::connect`] and of [`which::run`].
    pub async fn run(&self, text: &str) -> Result<Run, Fault> {
        let client = self.connect().await?;
        let run = which::run(&client, text).await?;
        Ok(client.run(run))
    }
}

impl CredentialArguments {
    /// What flags and variables name.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming a file that cannot be used.
    pub fn access(&self) -> Result<Access, Fault> {
        self.over(client_access())
    }

    /// Flags go over variables, and a file that is named by a flag over a token in a variable.
    fn over(&self, variables: ClientAccess) -> Result<Access, Fault> {
        let ClientAccess { token, token_file, ca, cert, key } = variables;
        let mut access = Access::default();
        let named = |flag: &Option<PathBuf>, variable: Option<PathBuf>| flag.clone().or(variable);
        let token = token.filter(|_| self.token_file.is_none());
        match (token, named(&self.token_file, token_file)) {
            (Some(token), _) => access = access.token(&token)?,
            (None, Some(file)) => {
                let text = String::from_utf8(read("token_file", &file)?);
                let text = text.map_err(|_| Fault::invalid("token_file", "expected text"))?;
                access = access.token(&text)?;
            }
            (None, None) => {}
        }
        if let Some(file) = named(&self.ca, ca) {
            access = access.authorities(read("ca", &file)?);
        }
        match (named(&self.tls_cert, cert), named(&self.tls_key, key)) {
            (Some(cert), Some(key)) => Ok(access.certificate(read("cert", &cert)?, read("key", &key)?)),
            (None, None) => Ok(access),
            (None, Some(_)) => Err(Fault::invalid("cert", "found none, expected a certificate with the key")),
            (Some(_), None) => Err(Fault::invalid("key", "found none, expected the key of the certificate")),
        }
    }
}

fn read(field: &str, file: &Path) -> Result<Vec<u8>, Fault> {
    given::bytes(file)
        .map_err(|fault| Fault::invalid(field, format!("{}: {}", file.display(), fault.message)))
}
