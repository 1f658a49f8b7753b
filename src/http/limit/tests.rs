//! The limits, on a paused clock.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::task::Poll;

use super::table::MOST;
use super::*;
use crate::http::ClientKey;

const SECOND: Duration = Duration::from_secs(1);

fn none() -> Limits {
    Limits {
        requests: None,
        in_flight: None,
        bytes: None,
        connections: None,
        max_delay: 10 * SECOND,
        exempt: vec!["192.0.2.128/25".parse().unwrap()],
    }
}

fn rate(count: u32) -> config::Rate {
    let count = NonZeroU32::new(count).unwrap();
    config::Rate { count, per: SECOND }
}

fn clients(limits: Limits) -> Arc<Terms> {
    let proxies = config::Proxies {
        trusted: vec!["10.0.0.0/8".parse().unwrap()],
        proxy_protocol: true,
        pass_tls: false,
        header: config::ForwardedHeader::XForwardedFor,
    };
    Clients::of(limits, proxies).terms()
}

fn peer(ip: impl Into<IpAddr>) -> ClientAddr {
    SocketAddr::new(ip.into(), 1).into()
}

fn caller(clients: &Terms, last: u8) -> Caller {
    clients.caller(
        peer(Ipv4Addr::new(192, 0, 2, last)).into(),
        &HeaderMap::new(),
    )
}

/// Whose, when, and whether it was let in.
type Admission = (u32, Duration, Result<(), Refusal>);

/// Lets everything run that can run without time.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_rate_are_let_in_in_order_and_the_rest_refused_after_the_delay() {
    let clients = clients(Limits {
        requests: Some(rate(10)),
        ..none()
    });
    let me = caller(&clients, 1);
    let start = Instant::now();
    let log = Arc::new(Mutex::new(Vec::<Admission>::new()));
    let mut tasks = Vec::new();
    for at in 0..130 {
        let (clients, log) = (clients.clone(), Arc::clone(&log));
        tasks.push(tokio::spawn(async move {
            let admitted = clients.admit(&me).await.map(drop);
            log.lock().unwrap().push((at, start.elapsed(), admitted));
        }));
        tokio::task::yield_now().await;
    }
    settle().await;
    assert_eq!(log.lock().unwrap().len(), 10, "a burst goes at once");
    for task in tasks {
        task.await.unwrap();
    }
    let log = log.lock().unwrap();
    let (let_in, refused): (Vec<&Admission>, Vec<&Admission>) =
        log.iter().partition(|(_, _, admitted)| admitted.is_ok());
    // The burst, and ten seconds' worth.
    assert_eq!(
        let_in.iter().map(|(at, ..)| *at).collect::<Vec<_>>(),
        (0..110).collect::<Vec<_>>()
    );
    assert_eq!(refused.len(), 20);
    for (_, when, refusal) in refused {
        assert!(*when >= 10 * SECOND && *when < 11 * SECOND, "{when:?}");
        let refusal = refusal.unwrap_err();
        assert_eq!(refusal.limit, Refused::Requests(rate(10)));
        // No more than 20 are before it.
        assert!(
            refusal.retry_after > Duration::ZERO && refusal.retry_after <= 2 * SECOND,
            "{refusal:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_again_when_its_body_goes_and_goes_to_who_waited_longest() {
    let clients = clients(Limits {
        in_flight: Some(2),
        ..none()
    });
    let me = caller(&clients, 1);
    let first = clients.admit(&me).await.unwrap();
    let _second = clients.admit(&me).await.unwrap();
    let mut third = Box::pin(clients.admit(&me));
    let mut fourth = Box::pin(clients.admit(&me));
    let both_wait = poll_fn(|cx| {
        Poll::Ready(third.as_mut().poll(cx).is_pending() && fourth.as_mut().poll(cx).is_pending())
    });
    assert!(both_wait.await);
    let body = super::super::ResponseBody::whole("bytes");
    let mut body = body;
    body.admitted(first);
    drop(body);
    let third = third.await.unwrap();
    let refused = fourth.await.unwrap_err();
    assert_eq!(refused.limit, Refused::InFlight(2));
    // Whoever gave up left no trace.
    drop(third);
    assert!(clients.admit(&me).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_clients_queue_holds_up_nobody_else() {
    let clients = clients(Limits {
        requests: Some(rate(1)),
        in_flight: Some(1),
        connections: Some(1),
        ..none()
    });
    let greedy = caller(&clients, 1);
    let _first = clients.admit(&greedy).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..1000 {
        let clients = clients.clone();
        held.push(tokio::spawn(async move {
            clients.admit(&greedy).await.map(drop)
        }));
    }
    settle().await;
    let start = Instant::now();
    for last in 2..=51 {
        let _connected = clients
            .connect(peer(Ipv4Addr::new(192, 0, 2, last)))
            .unwrap();
        clients.admit(&caller(&clients, last)).await.unwrap();
    }
    // Exempt, or behind a proxy that names nobody: as often as they like.
    for address in [[192, 0, 2, 200], [10, 0, 0, 1]] {
        let someone = peer(Ipv4Addr::from(address));
        for _ in 0..100 {
            let asks = clients.caller(someone.into(), &HeaderMap::new());
            clients.admit(&asks).await.unwrap();
            assert!(clients.connect(someone).unwrap().is_none());
        }
    }
    assert_eq!(start.elapsed(), Duration::ZERO, "nobody waited");
    for task in held {
        task.await.unwrap().unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_a_bounded_number_of_one_clients_requests_is_held() {
    let clients = clients(Limits {
        in_flight: Some(1),
        ..none()
    });
    let me = caller(&clients, 1);
    let _first = clients.admit(&me).await.unwrap();
    let start = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..MOST_HELD + 5 {
        let clients = clients.clone();
        tasks.push(tokio::spawn(async move {
            clients.admit(&me).await.unwrap_err();
            Instant::now()
        }));
    }
    let mut at_once = 0;
    for task in tasks {
        at_once += usize::from(task.await.unwrap() == start);
    }
    assert_eq!(at_once, 5);
}

#[tokio::test(start_paused = true)]
async fn connections_are_counted_by_client_until_they_close() {
    let clients = clients(Limits {
        connections: Some(2),
        ..none()
    });
    let v6 = |last| peer(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last));
    let first = clients.connect(v6(1)).unwrap();
    let _second = clients.connect(v6(2)).unwrap();
    let surplus = clients.connect(v6(3)).unwrap_err();
    assert_eq!(Refusal::from(surplus).limit, Refused::Connections(2));
    drop(first);
    let _third = clients.connect(v6(4)).unwrap();
    assert!(clients.connect(v6(5)).is_err());
}

/// All bodies of one client together go at its rate, whichever of them is read, and another's goes as it likes.
#[tokio::test(start_paused = true)]
async fn the_bodies_of_a_client_share_its_bytes() {
    use http_body_util::BodyExt as _;
    const SIZE: usize = 1 << 20;
    let clients = clients(Limits {
        bytes: Some(config::ByteRate {
            bytes: 256 << 10,
            per: SECOND,
        }),
        ..none()
    });
    let read = |last| {
        let clients = clients.clone();
        async move {
            let admitted = clients.admit(&caller(&clients, last)).await.unwrap();
            let mut body = super::super::ResponseBody::whole(vec![7; SIZE]);
            body.admitted(admitted);
            body.collect().await.unwrap().to_bytes().len()
        }
    };
    // Asked for once and then left alone: it is in nobody's way.
    let mut abandoned = super::super::ResponseBody::whole(vec![7; SIZE]);
    abandoned.admitted(clients.admit(&caller(&clients, 1)).await.unwrap());
    let start = Instant::now();
    let both = tokio::join!(read(1), read(1));
    assert_eq!(both, (SIZE, SIZE));
    // 2 MiB, of which the first 256 KiB went at once.
    assert_eq!(start.elapsed().as_secs(), 7);
    drop(abandoned);
    let start = Instant::now();
    assert_eq!(read(2).await, SIZE);
    assert_eq!(start.elapsed().as_secs(), 3);
}

fn net(at: u32) -> ClientKey {
    let [a, b, c, d] = at.to_be_bytes().map(u16::from);
    let network = Ipv6Addr::from([0x2001, 0xdb8, a << 8 | b, c << 8 | d, 0, 0, 0, 0]);
    ClientKey::from(IpAddr::from(network))
}

/// A scan from a million networks filled the memory.
#[tokio::test(start_paused = true)]
async fn a_million_clients_in_a_second_are_forgotten_but_for_those_with_something_running() {
    let clients = clients(Limits {
        requests: Some(rate(1)),
        in_flight: Some(1),
        connections: Some(1),
        ..none()
    });
    let me = caller(&clients, 1);
    let running = clients.admit(&me).await.unwrap();
    let (table, limits) = (&clients.table, &clients.limits);
    let mut most = 0;
    for at in 0..1_000_000 {
        let scanner = table.get(net(at), Instant::now(), limits);
        if let Some(requests) = &scanner.requests {
            assert!(requests.try_take(NonZeroU32::MIN));
        }
        most = most.max(table.len());
    }
    assert!(most <= MOST && most > MOST / 2, "{most}");
    // With the map's own, and what the allocator adds, well below half a KiB each.
    let each = size_of::<Client>() + 3 * (size_of::<Semaphore>() + 32);
    assert!(each <= 512, "{each}");
    assert!(table.capacity() <= 2 * MOST, "{}", table.capacity());
    let refusal = clients.admit(&me).await.unwrap_err();
    assert_eq!(
        refusal.limit,
        Refused::InFlight(1),
        "what runs is not forgotten"
    );
    drop(running);

    // A quiet minute later, all are as new.
    tokio::time::advance(2 * table::EVERY).await;
    drop(table.get(net(0), Instant::now(), limits));
    drop(table.get(net(u32::MAX), Instant::now(), limits));
    tokio::time::advance(2 * table::EVERY).await;
    drop(table.get(net(u32::MAX - 1), Instant::now(), limits));
    assert_eq!(table.len(), 1);
    assert!(table.capacity() < MOST / 2, "{}", table.capacity());
}

/// Who has spent its burst does not get another by being forgotten, while there is room to remember it.
#[tokio::test(start_paused = true)]
async fn a_client_is_remembered_until_it_is_as_new() {
    let clients = clients(Limits {
        requests: Some(config::Rate {
            count: NonZeroU32::MIN,
            per: 600 * SECOND,
        }),
        max_delay: Duration::ZERO,
        ..none()
    });
    let me = caller(&clients, 1);
    clients.admit(&me).await.unwrap();
    for last in 2..9 {
        tokio::time::advance(70 * SECOND).await;
        clients.admit(&caller(&clients, last)).await.unwrap();
        assert!(clients.admit(&me).await.is_err());
    }
    tokio::time::advance(120 * SECOND).await;
    clients.admit(&me).await.unwrap();
}

#[test]
fn nothing_is_kept_where_there_are_no_limits() {
    let clients = Clients::unlimited();
    for at in 0..100 {
        let peer = peer(Ipv4Addr::from(at));
        assert!(clients.connect(peer).unwrap().is_none());
        assert!(!clients.sends_proxy_header(peer));
    }
    assert_eq!(clients.terms().table.len(), 0);
}
