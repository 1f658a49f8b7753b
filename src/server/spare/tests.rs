//! Who goes for whom, and that nobody who is idle is forgotten.

use super::*;

/// A connection that nothing is asked for on.
fn enter(spares: &Arc<Spares>, past: Past) -> Spare {
    spares.enter(past, Waker::noop(), &Arc::default())
}

fn is_taken(spare: &Spare) -> bool {
    let cx = Context::from_waker(Waker::noop());
    spare.poll_taken(&cx).is_ready()
}

#[tokio::test(start_paused = true)]
async fn who_never_asked_goes_before_who_was_answered_and_the_longest_idle_first() {
    let spares = Arc::new(Spares::default());
    let enter = |past| enter(&spares, past);
    let answered = [enter(Past::Answered), enter(Past::Answered)];
    let silent = [enter(Past::Silent), enter(Past::Silent)];
    tokio::time::advance(SILENCE).await;
    let mut wanted = Vec::new();
    for next in [&silent[0], &silent[1], &answered[0], &answered[1]] {
        assert!(!is_taken(next));
        wanted.push(spares.want());
        assert!(is_taken(next));
    }
    assert!(!spares.are_owed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_only_just_connected_is_given_a_moment() {
    let spares = Arc::new(Spares::default());
    let fresh = enter(&spares, Past::Silent);
    let wanted = spares.want();
    assert!(!is_taken(&fresh));
    tokio::time::advance(SILENCE).await;
    wanted.again();
    assert!(is_taken(&fresh));
}

#[tokio::test(start_paused = true)]
async fn who_is_halfway_for_long_goes_before_who_was_answered_and_nobody_else_does() {
    let spares = Arc::new(Spares::default());
    let halfway = enter(&spares, Past::Begun);
    let answered = [Past::Answered; 2].map(|past| enter(&spares, past));
    tokio::time::advance(SILENCE).await;
    let first = spares.want();
    assert!(!is_taken(&halfway) && is_taken(&answered[0]));
    drop(first);
    tokio::time::advance(HALFWAY).await;
    let _second = spares.want();
    assert!(is_taken(&halfway) && !is_taken(&answered[1]));
}

#[tokio::test(start_paused = true)]
async fn where_none_is_idle_the_next_to_become_so_ends_and_no_more_than_are_waited_for() {
    let spares = Arc::new(Spares::default());
    let enter = |past| enter(&spares, past);
    let wanted = [spares.want(), spares.want()];
    for wanted in &wanted {
        wanted.again();
    }
    assert!(!is_taken(&enter(Past::Silent)));
    assert!(is_taken(&enter(Past::Answered)));
    assert!(is_taken(&enter(Past::Answered)));
    assert!(!is_taken(&enter(Past::Answered)));
    drop(wanted);
    drop(spares.want());
    assert!(!is_taken(&enter(Past::Answered)));
}

#[test]
fn one_that_is_asked_again_is_not_in_the_queue_any_more() {
    let spares = Arc::new(Spares::default());
    drop(enter(&spares, Past::Answered));
    assert!(lock(&spares.queue).idle.is_empty());
}

/// Else one that streams a blob, and has asked for it at once, would be the first to go; and would not go.
#[tokio::test(start_paused = true)]
async fn a_connection_that_a_request_runs_on_is_not_taken_until_it_is_idle_again() {
    let spares = Arc::new(Spares::default());
    let turns = [Past::Silent, Past::Answered].map(|past| (past, Arc::<Turn>::default()));
    let entered = turns.each_ref().map(|(past, turn)| {
        let spare = spares.enter(*past, Waker::noop(), turn);
        turn.pass();
        spare
    });
    let idle = enter(&spares, Past::Answered);
    tokio::time::advance(SILENCE).await;
    let _first = spares.want();
    assert!(is_taken(&idle) && !entered.iter().any(is_taken));
    let second = spares.want();
    assert!(!entered.iter().any(is_taken) && spares.are_owed());
    for ((_, turn), spare) in turns.iter().zip(&entered) {
        turn.pass();
        assert!(!spare.stays(Past::Answered, turn.now()), "it is out");
    }
    let again = spares.enter(Past::Answered, Waker::noop(), &turns[0].1);
    assert!(is_taken(&again) && !spares.are_owed());
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn who_was_answered_since_it_entered_comes_after_those_who_were_not() {
    let spares = Arc::new(Spares::default());
    let turn = Arc::<Turn>::default();
    let busy = spares.enter(Past::Answered, Waker::noop(), &turn);
    let idle = [Past::Answered; 2].map(|past| enter(&spares, past));
    turn.pass();
    turn.pass();
    assert!(busy.stays(Past::Answered, turn.now()));
    let mut wanted = Vec::new();
    for next in [&idle[0], &idle[1], &busy] {
        assert!(!is_taken(next));
        wanted.push(spares.want());
        assert!(is_taken(next));
    }
}

/// Whatever moment of a connection's requests the queue looks at it in: it ends for the newcomer.
#[test]
fn no_newcomer_is_ever_forgotten() {
    let spares = Arc::new(Spares::default());
    for round in 0..4_000 {
        let turn = Arc::<Turn>::default();
        let spare = spares.enter(Past::Answered, Waker::noop(), &turn);
        turn.pass();
        let is_there = AtomicBool::new(false);
        let (wanted, last) = std::thread::scope(|scope| {
            let newcomer = scope.spawn(|| {
                is_there.store(true, Ordering::Release);
                for _ in 0..round % 80 {
                    std::hint::spin_loop();
                }
                spares.want()
            });
            while !is_there.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            turn.pass();
            let stays = Some(spare).filter(|spare| spare.stays(Past::Answered, turn.now()));
            let enter = || spares.enter(Past::Answered, Waker::noop(), &turn);
            let last = stays.unwrap_or_else(enter);
            (newcomer.join().unwrap(), last)
        });
        assert!(is_taken(&last) && !spares.are_owed(), "{round}");
        drop(wanted);
    }
}

/// It has begun to ask when it was taken, and goes on.
#[tokio::test(start_paused = true)]
async fn where_a_taken_connection_goes_on_another_one_ends() {
    let spares = Arc::new(Spares::default());
    let silent = enter(&spares, Past::Silent);
    tokio::time::advance(SILENCE).await;
    let wanted = spares.want();
    assert!(!silent.stays(Past::Begun, 0));
    let other = enter(&spares, Past::Answered);
    drop(silent);
    assert!(is_taken(&other) && !spares.are_owed());
    drop(wanted);
}
