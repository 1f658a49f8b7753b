//! Origins and their counts, and who waits for whom.

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// As one that has a login to be looked at does.
async fn enter(floods: &Arc<Floods>, address: IpAddr) -> Result<Ticket, Refused> {
    loop {
        match floods.enter(address)? {
            Entry::Begun(ticket) => return Ok(ticket),
            Entry::After(waiter) => waiter.ended().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_from_one_place_is_stopped_and_no_other_place_notices() {
    let floods = Floods::default();
    let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
    let now = Instant::now();
    for _ in 0..BURST {
        floods.take(one, now).unwrap();
    }
    assert_eq!(floods.take(one, now), Err(EACH));
    assert_eq!(floods.refuses(one, now), Some(EACH));
    assert_eq!(floods.refuses(other, now), None);
    assert_eq!(floods.take(other, now), Ok(()));
    let later = now + EACH / 2;
    assert_eq!(floods.take(one, later), Err(EACH / 2));
    assert_eq!(floods.refuses(one, now + EACH), None);
    assert_eq!(floods.take(one, now + EACH), Ok(()));
    assert_eq!(floods.take(one, now + EACH), Err(EACH));
    // As if nothing had been.
    let long_after = now + EACH * 1000;
    for _ in 0..BURST {
        floods.take(one, long_after).unwrap();
    }
    assert!(floods.take(one, long_after).is_err());
}

#[tokio::test(start_paused = true)]
async fn right_passwords_are_not_counted() {
    let floods = Arc::new(Floods::default());
    let (one, neighbour) = (ip("2001:db8::1"), ip("2001:db8::2"));
    for _ in 0..1000 {
        enter(&floods, one).await.unwrap().give_back();
        enter(&floods, neighbour).await.unwrap().give_back();
    }
    let state = lock(&floods.0);
    assert_eq!(state.counts.len(), 2, "a /64 is one place, of one site");
    assert!(state.checks.is_empty());
}

/// A site may have as many networks as it likes, and each would have a count of its own.
#[tokio::test(start_paused = true)]
async fn a_site_is_counted_as_some_places_however_many_it_has() {
    let floods = Floods::default();
    let now = Instant::now();
    let network = |number: u32| ip(&format!("2001:db8:1:{number:x}::1"));
    let taken = (0..1000).filter(|&number| floods.take(network(number), now).is_ok());
    assert_eq!(taken.count(), (BURST * PLACES_OF_SITE) as usize);
    let after = EACH / PLACES_OF_SITE;
    assert_eq!(floods.take(network(2000), now), Err(after));
    assert_eq!(floods.take(network(2000), now + after), Ok(()));
    assert_eq!(floods.take(ip("2001:db8:2::1"), now), Ok(()), "another one");
}

/// There may be a thousand clients behind one address, all of them right.
#[tokio::test(start_paused = true)]
async fn more_than_a_burst_wait_for_what_runs_and_those_that_were_right_hold_up_none() {
    let floods = Arc::new(Floods::default());
    let one = ip("192.0.2.1");
    for _ in 0..BURST - 1 {
        floods.take(one, Instant::now()).unwrap();
    }
    // The last that is left, which may be given back.
    let running = enter(&floods, one).await.unwrap();
    let mut next = std::pin::pin!(enter(&floods, one));
    assert!(futures_util::poll!(&mut next).is_pending());
    running.give_back();
    let running = next.await.unwrap();
    let mut next = std::pin::pin!(enter(&floods, one));
    assert!(futures_util::poll!(&mut next).is_pending());
    // Now it is wrong.
    drop(running);
    assert_eq!(next.await.unwrap_err(), Refused::TooMany(EACH));
    assert!(lock(&floods.0).checks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn few_of_one_place_run_at_once_and_not_many_wait() {
    let floods = Arc::new(Floods::default());
    let one = ip("192.0.2.1");
    let mut running = Vec::new();
    for _ in 0..AT_ONCE {
        running.push(enter(&floods, one).await.unwrap());
    }
    let mut waiting: Vec<_> = (0..WAITING)
        .map(|_| Box::pin(enter(&floods, one)))
        .collect();
    for each in &mut waiting {
        assert!(futures_util::poll!(each).is_pending());
    }
    assert_eq!(enter(&floods, one).await.unwrap_err(), Refused::Busy);
    assert!(
        enter(&floods, ip("192.0.2.2")).await.is_ok(),
        "another place"
    );
    // Who leaves waits no more.
    waiting.truncate(1);
    let mut last = std::pin::pin!(enter(&floods, one));
    assert!(futures_util::poll!(&mut last).is_pending());
    running.pop().unwrap().give_back();
    waiting.pop().unwrap().await.unwrap().give_back();
    last.await.unwrap().give_back();
    drop(running);
    assert!(lock(&floods.0).checks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn addresses_without_number_are_not_remembered_and_what_comes_again_is() {
    let floods = Floods::default();
    let now = Instant::now();
    let again = ip("192.0.2.1");
    for _ in 0..BURST {
        floods.take(again, now).unwrap();
    }
    for number in 0..=2 * MOST {
        let number = u32::try_from(number).unwrap();
        floods.take(IpAddr::V4(number.into()), now).unwrap();
        if number.is_multiple_of(1000) {
            assert!(floods.take(again, now).is_err());
        }
    }
    assert!(lock(&floods.0).counts.len() <= MOST);
}
