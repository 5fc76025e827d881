//! Variables of the environment: which are settings of the daemon, which are not, and which are nothing at all.
//!
//! Owns: their names. May not touch: what they say.

use super::RawConfig;

/// What all of them begin with.
pub(super) const PREFIX: &str = "CLINO_";
/// Variables of the clients, which live beside those of the daemon.
const CLIENT_VARIABLES: [&str; 11] =
    ["addr", "project", "run_id", "mode", "check", "dir", "token", "token_file", "ca", "cert", "key"];
/// Read here, but by itself.
const OWN_VARIABLES: [&str; 2] = ["config", "cuda_lib_dir"];

/// Whether a variable, without its prefix and in small letters, is there to set something of the daemon.
pub(super) fn is_of_the_daemon(key: &str) -> bool {
    !CLIENT_VARIABLES.contains(&key) && !OWN_VARIABLES.contains(&key)
}

/// Variables of the environment that look like settings of clino and are none, each once. `clino serve` refuses to start
/// with one.
pub fn unknown_variables() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut unknown: Vec<String> = names.filter(|name| is_unknown(name)).collect();
    unknown.sort();
    unknown
}

fn is_unknown(name: &str) -> bool {
    let Some(key) = name.strip_prefix(PREFIX).map(str::to_lowercase) else { return false };
    if !is_of_the_daemon(&key) {
        return false;
    }
    // The one list of settings is that of the fields: whatever their types, all of them may be left out.
    let given = serde_json::Map::from_iter([(key, serde_json::Value::Null)]);
    serde_json::from_value::<RawConfig>(given.into()).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_are_no_settings_are_found() {
        for known in [
            "CLINO_THREADS",
            "CLINO_RUN_METRICS_EXPIRY",
            "CLINO_LISTEN",
            "CLINO_ADDR",
            "CLINO_CONFIG",
            "HOME",
        ] {
            assert!(!is_unknown(known), "{known}");
        }
        for unknown in ["CLINO_THREDS", "CLINO_ADRR", "CLINO_"] {
            assert!(is_unknown(unknown), "{unknown}");
        }
    }
}
