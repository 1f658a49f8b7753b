//! The cap on connections, and the drain.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::*;

#[tokio::test]
async fn connections_beyond_the_cap_wait_for_a_place() {
    let calls = Arc::new(AtomicUsize::new(0));
    let (feed, first) = fed(5);
    let first = std::sync::Mutex::new(Some(first));
    let counted = Arc::clone(&calls);
    let server = Server::start(
        Settings {
            max_connections: 1,
            ..patient()
        },
        move || {
            counted.fetch_add(1, Ordering::SeqCst);
            first
                .lock()
                .unwrap()
                .take()
                .unwrap_or_else(|| ResponseBody::whole("second"))
        },
    );
    let mut holder = server.send(GET).await;
    let head = holder.read_until("\r\n\r\n").await;
    assert!(
        !head.contains("connection: close"),
        "nobody waits for its place yet: {head}"
    );
    let mut waiting = server.send(GET).await;
    let unanswered = timeout(SHORT, waiting.stream.readable()).await;
    assert!(unanswered.is_err() && calls.load(Ordering::SeqCst) == 1);
    feed.send(Bytes::from_static(b"first")).unwrap();
    holder.read_until("first").await;
    waiting.read_until("second").await;
    assert_eq!(holder.read_to_end().await, (String::new(), Ok(())));
}

/// Half a head on each of them held all places for the header timeout, while clients that had been answered lost theirs.
#[tokio::test]
async fn at_the_cap_half_a_head_ends_for_a_new_one() {
    let settings = Settings {
        max_connections: 1,
        ..patient()
    };
    let server = Server::start(settings, || ResponseBody::whole("hello"));
    let half = server.send("GET /").await;
    server.send(GET).await.read_until("hello").await;
    assert_eq!(half.read_to_end().await.0, "");
}

#[tokio::test]
async fn at_the_cap_an_idle_connection_ends_for_a_new_one_and_no_busy_one_does() {
    let (feed, running) = fed(5);
    let bodies = [
        ResponseBody::whole("second"),
        running,
        ResponseBody::whole("first"),
    ];
    let bodies = std::sync::Mutex::new(Vec::from(bodies));
    let settings = Settings {
        max_connections: 2,
        ..patient()
    };
    let server = Server::start(settings, move || bodies.lock().unwrap().pop().unwrap());
    let mut idle = server.send(GET).await;
    idle.read_until("first").await;
    let mut busy = server.send(GET).await;
    busy.read_until("\r\n\r\n").await;
    let mut newcomer = server.send(GET).await;
    newcomer.read_until("second").await;
    assert_eq!(idle.read_to_end().await, (String::new(), Ok(())));
    feed.send(Bytes::from_static(b"third")).unwrap();
    busy.read_until("third").await;
}

#[tokio::test]
async fn at_the_cap_a_connection_that_stays_silent_ends_for_a_new_one() {
    let settings = Settings {
        max_connections: 1,
        ..patient()
    };
    let server = Server::start(settings, || ResponseBody::whole("hello"));
    let silent = server.connect().await;
    server.send(GET).await.read_until("hello").await;
    assert_eq!(silent.read_to_end().await, (String::new(), Ok(())));
}

/// Connections that are told that they are too many stood among those that can be spared, and went first: their ends made
/// room for nobody, and one client's silent ones kept newcomers from the places of those that were idle.
#[tokio::test(start_paused = true)]
async fn at_the_cap_the_end_of_one_that_is_told_so_is_not_taken_for_a_place() {
    let (go_on, held) = std::sync::mpsc::channel::<()>();
    // While it waits, the clock stands still but for where it is told to go on.
    let _still = tokio::task::spawn_blocking(move || held.recv());
    let listener = listen::bind("127.0.0.1:0".parse().unwrap(), "server.listen").unwrap();
    let to = listener.local_addr().unwrap();
    let config = "[limits]\nper_client_connections = 1";
    let config = crate::config::Config::from_toml(config).unwrap();
    let settings = Settings {
        max_connections: 2,
        ..patient()
    };
    let service: Service =
        Arc::new(|_, _| Answering::now(Response::new(ResponseBody::whole("hello"))));
    // Tied to the test's runtime.
    tokio::spawn(run(
        vec![listener],
        settings,
        Clients::new(&config),
        None,
        service,
        CancellationToken::new(),
    ));
    let mut idle = connect_from(2, to).await;
    idle.send(GET).await;
    idle.read_until("hello").await;
    let told = connect_from(2, to).await;
    let mut second = connect_from(3, to).await;
    second.send(GET).await;
    second.read_until("hello").await;
    tokio::time::advance(spare::SILENCE).await;
    let mut newcomer = connect_from(4, to).await;
    newcomer.send(GET).await;
    tokio::select! {
        ended = idle.read_to_end() => assert_eq!(ended, (String::new(), Ok(()))),
        ended = told.read_to_end() => panic!("it had no place to leave: {ended:?}"),
    }
    newcomer.read_until("hello").await;
    drop(go_on);
}

/// A client at an address of its own.
async fn connect_from(last: u8, to: SocketAddr) -> Client {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, last], 0).into()).unwrap();
    Client {
        stream: socket.connect(to).await.unwrap(),
        unread: Vec::new(),
    }
}

#[tokio::test]
async fn who_gets_no_place_is_told_so_or_closed_and_nobody_is_left_waiting() {
    let settings = Settings {
        max_connections: 1,
        place_wait: SHORT,
        ..patient()
    };
    let (feed, running) = fed(5);
    let running = std::sync::Mutex::new(Some(running));
    let server = Server::with_service(settings, move |remote| {
        let running = running.lock().unwrap().take();
        Response::new(running.unwrap_or_else(|| {
            ResponseBody::whole(remote.surplus.map_or("welcome", |_| "too many"))
        }))
    });
    let mut holder = server.send(GET).await;
    holder.read_until("\r\n\r\n").await;
    let newcomers = (0..200).map(async |_| {
        let mut newcomer = server.connect().await;
        // Who is closed without a word may be reset before it has asked.
        let _ = newcomer.stream.write_all(GET.as_bytes()).await;
        newcomer.read_to_end().await.0
    });
    let texts = futures_util::future::join_all(newcomers).await;
    let told = texts.iter().filter(|text| text.ends_with("too many"));
    let closed = texts.iter().filter(|text| text.is_empty());
    let (told, closed) = (told.count(), closed.count());
    assert!(told > 0 && told + closed == texts.len(), "{texts:?}");
    feed.send(Bytes::from_static(b"whole")).unwrap();
    holder.read_until("whole").await;
    drop(holder);
    server.send(GET).await.read_until("welcome").await;
}

/// Each listener kept a place in reserve, so at a low cap a quiet one took the last from the others.
#[tokio::test]
async fn a_quiet_listener_takes_no_place_from_another() {
    let settings = Settings {
        max_connections: 1,
        ..patient()
    };
    let bind = || listen::bind("127.0.0.1:0".parse().unwrap(), "server.listen").unwrap();
    let listeners = vec![bind(), bind()];
    let addresses = [0, 1].map(|at: usize| listeners[at].local_addr().unwrap());
    let service: Service =
        Arc::new(|_, _| Answering::now(Response::new(ResponseBody::whole("hello"))));
    // Tied to the test's runtime.
    tokio::spawn(run(
        listeners,
        settings,
        Clients::unlimited(),
        None,
        service,
        CancellationToken::new(),
    ));
    for address in addresses {
        let mut client = Client {
            stream: TcpStream::connect(address).await.unwrap(),
            unread: Vec::new(),
        };
        client.send(GET).await;
        client.read_until("hello").await;
    }
}

#[tokio::test]
async fn draining_refuses_new_work_and_finishes_what_runs() {
    let (feed, running) = fed(6);
    let running = std::sync::Mutex::new(Some(running));
    let server = Server::start(patient(), move || {
        running
            .lock()
            .unwrap()
            .take()
            .unwrap_or_else(|| ResponseBody::whole("hello"))
    });
    let mut transfer = server.send(GET).await;
    feed.send(Bytes::from_static(b"abc")).unwrap();
    transfer.read_until("abc").await;
    let mut idle = server.send(GET).await;
    idle.read_until("hello").await;
    server.shutdown.cancel();
    assert_eq!(idle.read_to_end().await, (String::new(), Ok(())));
    // The listener closed before the idle connection did, or does now.
    until_refused(server.address).await;
    feed.send(Bytes::from_static(b"def")).unwrap();
    assert_eq!(transfer.read_to_end().await, ("def".to_owned(), Ok(())));
    assert_eq!(server.run.await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn a_response_that_begins_while_draining_says_close() {
    let (go, gate) = oneshot::channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(Some(gate)));
    let listener = listen::bind("127.0.0.1:0".parse().unwrap(), "server.listen").unwrap();
    let address = listener.local_addr().unwrap();
    let (called, mut calls) = mpsc::unbounded_channel();
    let service: Service = Arc::new(move |_, _| {
        let gate = gate.lock().unwrap().take();
        called.send(()).unwrap();
        Answering::later(async move {
            gate.unwrap().await.unwrap();
            Response::new(ResponseBody::whole("hello"))
        })
    });
    let shutdown = CancellationToken::new();
    let run = tokio::spawn(run(
        vec![listener],
        patient(),
        Clients::unlimited(),
        None,
        service,
        shutdown.clone(),
    ));
    let mut client = Client {
        stream: TcpStream::connect(address).await.unwrap(),
        unread: Vec::new(),
    };
    client.send(GET).await;
    calls.recv().await.unwrap();
    shutdown.cancel();
    until_refused(address).await;
    go.send(()).unwrap();
    let (text, end) = client.read_to_end().await;
    assert!(
        text.contains("connection: close") && text.ends_with("hello"),
        "{text}"
    );
    assert_eq!((end, run.await.unwrap()), (Ok(()), Drained { cut: 0 }));
}

#[tokio::test]
async fn what_outlasts_the_drain_is_cut_with_fin() {
    let (feed, running) = fed(6);
    let running = std::sync::Mutex::new(Some(running));
    let server = Server::start(
        Settings {
            drain: SHORT,
            ..patient()
        },
        move || running.lock().unwrap().take().unwrap(),
    );
    let mut transfer = server.send(GET).await;
    feed.send(Bytes::from_static(b"abc")).unwrap();
    transfer.read_until("abc").await;
    server.shutdown.cancel();
    assert_eq!(transfer.read_to_end().await, (String::new(), Ok(())));
    assert_eq!(server.run.await.unwrap(), Drained { cut: 1 });
}

/// Returns when nobody listens there any more.
async fn until_refused(address: SocketAddr) {
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let refused = timeout(LONG, refused).await;
    refused.expect("the listener closes");
}

/// A body that gives what is sent to it.
fn fed(length: u64) -> (mpsc::UnboundedSender<Bytes>, ResponseBody) {
    let (feed, food) = mpsc::unbounded_channel();
    let chunks = stream::unfold(
        food,
        |mut food: mpsc::UnboundedReceiver<Bytes>| async move {
            let chunk = food.recv().await?;
            Some((Ok(chunk), food))
        },
    );
    (feed, ResponseBody::stream(length, chunks))
}
