//! The mirror under a service manager: sockets that it is passed, and what it tells.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::harness::{Client, Setup, hang_up, plain_origin, terminate, wait_for_exit};

/// How long it may take to say something on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// What it tells next.
fn told(socket: &UnixDatagram) -> String {
    let mut text = [0; 4096];
    let length = socket.recv(&mut text).expect("it tells something");
    String::from_utf8_lossy(&text[..length]).into_owned()
}

#[tokio::test]
async fn a_service_manager_is_told_of_start_reload_and_stop() {
    let origin = plain_origin().start().await.unwrap();
    let setup = Setup::new(&origin);
    let path = setup.dir().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let setup = setup.env("NOTIFY_SOCKET", &path);
    let mut child = setup.command().stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(told(&socket), "READY=1");
    hang_up(child.id().expect("it runs"));
    let reloading = told(&socket);
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert_eq!(told(&socket), "READY=1");
    terminate(&child);
    assert_eq!(told(&socket), "STOPPING=1");
    assert_eq!(wait_for_exit(&mut child).await.code(), Some(0));
}

#[tokio::test]
async fn a_watchdog_sees_that_it_lives() {
    let origin = plain_origin().start().await.unwrap();
    let setup = Setup::new(&origin);
    let path = setup.dir().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let setup = setup
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "100000");
    let _child = setup.command().stderr(Stdio::null()).spawn().unwrap();
    let signs = (0..4).filter(|_| told(&socket) == "WATCHDOG=1").count();
    assert!(signs >= 3);
}

/// The command with sockets as its descriptors 3 and 4, as systemd passes them.
fn activated(setup: &Setup, sockets: [TcpListener; 2], names: &str) -> Command {
    let script = "exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=$$; exec \"$@\"";
    let served = setup.command();
    let served = served.as_std();
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg("sh");
    shell.arg(served.get_program()).args(served.get_args());
    for (name, value) in served.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let [clients, admin] = sockets.map(OwnedFd::from);
    shell
        .env("LISTEN_FDS", "2")
        .env("LISTEN_FDNAMES", names)
        .stdin(Stdio::from(clients))
        .stdout(Stdio::from(admin))
        .stderr(Stdio::null())
        .kill_on_drop(true);
    shell
}

/// A connection made before there is a process waits for it.
#[tokio::test]
async fn sockets_that_are_passed_on_are_served_by_their_names() {
    let origin = plain_origin().start().await.unwrap();
    for (names, admin_is_admin) in [
        ("clients:admin", true),
        ("forebay.socket:forebay.socket", false),
    ] {
        let setup = Setup::new(&origin);
        let sockets = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let [clients, admin] = [0, 1].map(|at: usize| sockets[at].local_addr().unwrap());
        let early = Client::new(clients);
        let early = tokio::spawn(async move { early.get("/v2/").await.status });
        let mut child = activated(&setup, sockets, names).spawn().unwrap();
        assert_eq!(early.await.unwrap(), 200);
        let asked = if admin_is_admin { "/healthz" } else { "/v2/" };
        assert_eq!(Client::new(admin).get(asked).await.status, 200);
        terminate(&child);
        assert_eq!(wait_for_exit(&mut child).await.code(), Some(0));
    }
}

#[tokio::test]
async fn what_is_passed_on_and_is_no_socket_is_refused_by_its_number() {
    let origin = plain_origin().start().await.unwrap();
    let setup = Setup::new(&origin);
    let script = "exec 3</dev/null; export LISTEN_PID=$$; exec \"$@\"";
    let served = setup.command();
    let served = served.as_std();
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg("sh");
    shell.arg(served.get_program()).args(served.get_args());
    let output = shell.env("LISTEN_FDS", "1").output().await;
    let output = output.unwrap_or_else(|error| {
        assert_eq!(error.kind(), ErrorKind::Other);
        panic!("{error}")
    });
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(printed.contains("descriptor 3"), "{printed}");
    assert_eq!(output.status.code(), Some(1));
}
