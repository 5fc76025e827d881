//! Versions: whether a client and this daemon are too far apart.
//!
//! Owns: the oldest client that this daemon serves. May not touch: messages; fields that one side does not know are
//! ignored.

use clino_domain::{Fault, FaultKind};
use clino_proto::version::{CLIENT, NEEDED, OWN};
use tonic::metadata::MetadataMap;

/// The oldest client whose requests this daemon understands as they are meant.
const OLDEST_CLIENT: &str = "0.1.0";

/// That a client which tells its version can be served; one that tells nothing is taken as it is.
///
/// # Errors
/// [`FaultKind::Precondition`] with the version that is needed, [`FaultKind::Invalid`] for something else than a version.
pub(super) fn check(metadata: &MetadataMap) -> Result<(), Fault> {
    if let Some((found, client)) = told(metadata, CLIENT)?
        && client < parse(OLDEST_CLIENT).unwrap_or_default()
    {
        let expected =
            format!("expected at least {OLDEST_CLIENT} for this daemon, which is {OWN}: update the client");
        return Err(Fault::field(FaultKind::Precondition, CLIENT, format!("found {found}, {expected}")));
    }
    if let Some((found, needed)) = told(metadata, NEEDED)?
        && needed > parse(OWN).unwrap_or_default()
    {
        let expected = format!("this daemon is {OWN}: update it to at least {found}, or use an older client");
        return Err(Fault::field(FaultKind::Precondition, NEEDED, format!("found {found}, {expected}")));
    }
    Ok(())
}

type Version = [u64; 3];

fn told<'a>(metadata: &'a MetadataMap, key: &str) -> Result<Option<(&'a str, Version)>, Fault> {
    let Some(value) = metadata.get(key) else { return Ok(None) };
    let found = value.to_str().ok().and_then(|text| Some((text, parse(text)?)));
    found
        .map(Some)
        .ok_or_else(|| Fault::invalid(key, "found something else, expected a version such as 1.2.3"))
}

/// `1.2.3`; what follows a `-` or `+` does not count.
fn parse(text: &str) -> Option<Version> {
    let core = text.split(['-', '+']).next()?;
    let numbers = core.split('.').map(|number| number.parse().ok()).collect::<Option<Vec<u64>>>()?;
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn row_49_versions_that_are_too_far_apart_are_told_what_is_needed() {
        let checked = |key: &'static str, value: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert(key, value.parse().unwrap());
            check(&metadata)
        };
        for fine in [OWN, "0.1.0", "0.10.0", "7.0.0-beta.1+x"] {
            assert_eq!(checked(CLIENT, fine), Ok(()), "{fine}");
        }
        assert_eq!((checked(NEEDED, OWN), checked(NEEDED, "0.0.9")), (Ok(()), Ok(())));
        assert_eq!(check(&MetadataMap::new()), Ok(()));
        let old = checked(CLIENT, "0.0.9").unwrap_err();
        assert!(old.kind == FaultKind::Precondition && old.message.contains(OLDEST_CLIENT), "{old}");
        let new = checked(NEEDED, "99.0.0").unwrap_err();
        assert!(new.kind == FaultKind::Precondition && new.message.contains(OWN), "{new}");
        for wrong in ["", "1", "1.2", "1.2.x", "1.2.3.4", "-1.2.3"] {
            assert_eq!(checked(CLIENT, wrong).unwrap_err().kind, FaultKind::Invalid, "{wrong}");
        }
    }
}
