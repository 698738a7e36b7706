//! Secrets: encrypted where they lie, looked up in order, and never shown where nobody asked.

use crate::harness::Place;
use crate::server::left;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const SECRET: &str = "hunter22-of-the-vault";

fn home(place: &Place) -> PathBuf {
    place.path().join(".updraft")
}

/// Whether any file of the home has the secret in it.
fn is_in_clear(place: &Place) -> bool {
    let files = std::fs::read_dir(home(place)).unwrap().filter_map(Result::ok).filter(|entry| entry.path().is_file());
    files.filter_map(|entry| std::fs::read(entry.path()).ok()).any(|bytes| contains(&bytes, SECRET.as_bytes()))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn with(place: &Place, arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let output = place.command(arguments).envs(environment.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_home_keeps_no_secret_in_clear_and_its_key_for_its_owner() {
    let place = left();
    place.run(&["variables", "set", "token", SECRET]);
    place.run(&["connections", "add", "db", "--conn-uri", &format!("http://me:{SECRET}@host")]);
    assert!(!is_in_clear(&place));
    let key = home(&place).join("fernet_key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(place.run(&["variables", "get", "token"]), format!("exit 0\n--- stdout\n{SECRET}\n--- stderr\n"));

    let before = std::fs::read_to_string(&key).unwrap();
    let said = place.run(&["rotate-fernet-key"]);
    assert!(
        said.starts_with("exit 0") && said.contains("2 variables and connections were encrypted by a new"),
        "{said}"
    );
    assert_ne!(std::fs::read_to_string(&key).unwrap(), before);
    assert_eq!(place.run(&["variables", "get", "token"]), format!("exit 0\n--- stdout\n{SECRET}\n--- stderr\n"));

    std::fs::remove_file(&key).unwrap();
    let said = place.run(&["variables", "get", "token"]);
    assert!(said.starts_with("exit") && !said.starts_with("exit 0"), "{said}");
    assert!(said.contains("VARIABLES/token") && said.contains("fernet_key"), "{said}");
}

#[test]
fn keys_of_ones_own_are_rotated_by_putting_the_new_one_first() {
    let place = left();
    let (one, two) = ("81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyPs=", "mSha3BhWNOdQ26slT6K0YaZeZyPs81HqDtbqAywKSOs=");
    let both = format!("{two},{one}");
    let get = |key: &str| with(&place, &["variables", "get", "token"], &[("UPDRAFT_FERNET_KEY", key)]);
    with(&place, &["variables", "set", "token", SECRET], &[("UPDRAFT_FERNET_KEY", one)]);
    assert_eq!(get(one), (Some(0), format!("{SECRET}\n"), String::new()));
    let (code, _, said) = get(two);
    assert!(code != Some(0) && said.contains("not among those that are set here"), "{said}");
    let (code, _, said) = with(&place, &["rotate-fernet-key"], &[("UPDRAFT_FERNET_KEY", &both)]);
    assert!(code == Some(0) && said.starts_with("1 variables"), "{said}");
    assert_eq!(get(two), (Some(0), format!("{SECRET}\n"), String::new()));
    let (code, _, said) = get("no-key-at-all");
    assert!(code == Some(1) && said.contains("Fernet key number 1") && !said.contains("no-key-at-all"), "{said}");
}

#[test]
fn a_backend_that_is_not_known_or_set_up_wrongly_says_so() {
    let place = left();
    for (class, kwargs, wanted) in [
        ("airflow.providers.hashicorp.secrets.vault.VaultBackend", "", "SystemsManagerParameterStoreBackend"),
        (
            "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend",
            r#"{"conections_prefix": "x"}"#,
            "connections_prefix",
        ),
    ] {
        let environment = [("UPDRAFT_SECRETS_BACKEND", class), ("UPDRAFT_SECRETS_BACKEND_KWARGS", kwargs)];
        let (code, _, said) = with(&place, &["variables", "get", "token"], &environment);
        assert!(code == Some(1) && said.contains("UPDRAFT_SECRETS_BACKEND") && said.contains(wanted), "{said}");
    }
}
