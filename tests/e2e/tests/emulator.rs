//! The emulator that tests start for themselves: it deploys the template, and leaves nothing behind.

use std::net::TcpStream;
use updraft_e2e::cloud::built;
use updraft_e2e::emulator::{Binaries, Emulator};

#[test]
fn it_deploys_the_template_and_ends_when_dropped() {
    let emulator = Emulator::start();
    let address = emulator.endpoint().trim_start_matches("http://").to_owned();
    assert!(TcpStream::connect(&address).is_ok(), "nothing answers on {address}");

    // Any executable does here: nothing calls the functions before the emulator ends.
    let file = built("updraft-scheduler-function");
    let outputs = emulator.deploy(
        "deploys",
        Binaries { scheduler: &file, worker: &file, api: &file },
        &[("WorkerTimeout", "60")],
    );
    assert_eq!(outputs["TableName"], "deploys");
    assert_eq!(outputs["BucketName"], "deploys-dags-000000000000-us-east-1");
    assert!(outputs["TaskQueueUrl"].contains("TaskQueue"), "{outputs:?}");

    drop(emulator);
    assert!(TcpStream::connect(&address).is_err(), "something still answers on {address}");
}
