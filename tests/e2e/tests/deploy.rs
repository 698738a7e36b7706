//! `infra/deploy` on what it is given: what Lambda could not start is refused before anything is uploaded.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use updraft_e2e::repository;

const X86_64: u8 = 0x3E;
const ARM64: u8 = 0xB7;

/// The beginning of a Linux executable for a processor, and the name of the glibc that it wants.
fn executable(machine: u8, glibc: &str) -> Vec<u8> {
    let mut header = vec![0; 64];
    header[..4].copy_from_slice(b"\x7fELF");
    header[18] = machine;
    [&header, glibc.as_bytes()].concat()
}

/// Zips of one binary for all functions, without an emulator: where there is one, glibc is not looked at.
fn zips(folder: &Path, binary: &[u8], parameters: &[&str]) -> Output {
    std::fs::create_dir_all(folder).expect("a folder can be made");
    let file = folder.join("binary");
    std::fs::write(&file, binary).expect("a file can be written");
    let mut deploy = Command::new(repository().join("infra/deploy"));
    deploy.args(parameters).arg("--zips").arg(folder.join("zips")).env_remove("AWS_ENDPOINT_URL");
    for name in ["--scheduler", "--worker", "--api"] {
        deploy.arg(name).arg(&file);
    }
    deploy.output().expect("`infra/deploy` can be started; it needs `python3` in the PATH")
}

fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("updraft-e2e-{}-deploy-{name}", std::process::id()))
}

#[test]
fn what_lambda_could_not_start_is_refused() {
    let folder = folder("refused");
    for (binary, parameters, why) in [
        (b"#!/bin/sh\n".to_vec(), &[][..], "is no Linux executable"),
        (executable(ARM64, "GLIBC_2.17"), &[], "is not for x86_64"),
        (executable(X86_64, "GLIBC_2.17"), &["--parameter", "Architecture=arm64"], "is not for arm64"),
        (executable(X86_64, "GLIBC_2.17 GLIBC_2.35"), &[], "needs glibc 2.35, and Lambda has 2.34"),
    ] {
        let answer = zips(&folder, &binary, parameters);
        let said = String::from_utf8_lossy(&answer.stderr);
        assert_eq!(answer.status.code(), Some(1), "{why}: {said}");
        assert!(said.contains(why) && said.contains("binary`"), "{why}: {said}");
        assert!(!folder.join("zips/worker.zip").exists(), "{why}: it was written all the same");
    }
    std::fs::remove_dir_all(folder).expect("the folder is there");
}

/// The same binary gives the same zip, so that deploying again changes nothing.
#[test]
fn a_zip_is_the_binary_and_nothing_else() {
    let (one, other) = (folder("one"), folder("other"));
    let [first, second] =
        [(&one, "x86_64", X86_64), (&other, "arm64", ARM64)].map(|(folder, architecture, machine)| {
            let zip = || {
                let answer = zips(
                    folder,
                    &executable(machine, "GLIBC_2.9 GLIBC_2.34"),
                    &["--parameter", &format!("Architecture={architecture}")],
                );
                assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
                std::fs::read(folder.join("zips/worker.zip")).expect("it was written")
            };
            let (first, again) = (zip(), zip());
            assert_eq!(first, again, "{architecture}");
            first
        });
    assert_ne!(first, second);
    // Two of the same second would be alike with a date, too: it is 1980-01-01 00:00.
    assert_eq!(first[10..14], [0, 0, 0x21, 0]);
    assert!(first.windows(9).any(|part| part == b"bootstrap"), "its file is what Lambda starts");
    for folder in [one, other] {
        std::fs::remove_dir_all(folder).expect("the folder is there");
    }
}
