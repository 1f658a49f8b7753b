//! The whole book against simulated registries: slots whose source changes while pulls are under way and others wait, one
//! scout each at the start, answers and looks out of order, late, lost or failed, waiters that leave.

mod world;

use proptest::prelude::*;

use world::World;

/// What happens next. Which of many is picked by a number.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Someone wants a pull, and waits for it this long.
    Ask(u8, u8),
    /// Someone who waits leaves.
    Leave(u8),
    /// A registry gets to a pull that was sent.
    Count(u8),
    /// Its answer arrives.
    Answer(u8),
    /// Its connection breaks, before or after the registry got to it.
    Lose(u8),
    /// It turns out that there is no such thing.
    Absent(u8),
    /// It is refused for load, by something that counts nothing.
    Refuse(u8),
    /// A look that is due is answered, or fails.
    Look(u8),
    LookFails(u8),
    /// A registry is asked for free; its answer arrives later.
    SendHead(u8),
    HeadArrives(u8),
    /// From now on a registry sees a slot at another address.
    Move(u8, u8),
    /// The same, and it is told so before anything else happens.
    MoveTold(u8, u8),
    Wait(u8),
}

/// Which slots are moved.
#[derive(Debug, Clone, Copy)]
enum Moves {
    None,
    Told,
    Any,
}

fn steps(moves: Moves) -> impl Strategy<Value = Vec<Step>> {
    let n = any::<u8>;
    let step = prop_oneof![
        8 => (n(), n()).prop_map(|(slot, patience)| Step::Ask(slot, patience)),
        1 => n().prop_map(Step::Leave),
        6 => n().prop_map(Step::Count),
        6 => n().prop_map(Step::Answer),
        1 => n().prop_map(Step::Lose),
        1 => n().prop_map(Step::Absent),
        1 => n().prop_map(Step::Refuse),
        3 => n().prop_map(Step::Look),
        1 => n().prop_map(Step::LookFails),
        1 => n().prop_map(Step::SendHead),
        1 => n().prop_map(Step::HeadArrives),
        2 => (n(), n()).prop_map(move |(slot, to)| match moves {
            Moves::None => Step::Wait(to),
            Moves::Any if to < 128 => Step::Move(slot, to),
            Moves::Told | Moves::Any => Step::MoveTold(slot, to),
        }),
        4 => n().prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..200)
}

fn run(
    limit: i64,
    window: u64,
    allowed: Option<u64>,
    steps: Vec<Step>,
) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut world = World::new(limit, window, allowed);
        for step in steps {
            world.step(step).await;
            let (refused, blind) = (world.refused, world.blind);
            prop_assert!(
                !world.is_overdrawn(),
                "{step:?}: {refused} refused, {blind} blind"
            );
            prop_assert!(!world.is_beyond_configured(), "{step:?}");
        }
        world.must_serve().await;
        prop_assert!(!world.is_overdrawn());
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn slots_of_one_source_never_overdraw_it_and_everyone_is_served(
        limit in 1i64..10, window in 1u64..8, steps in steps(Moves::None),
    ) {
        run(limit, window, None, steps)?;
    }

    #[test]
    fn slots_whose_sources_change_overdraw_no_more_than_nobody_could_know(
        limit in 1i64..10, window in 1u64..8, steps in steps(Moves::Any),
    ) {
        run(limit, window, None, steps)?;
    }

    /// What is under way when a slot moves may be counted where it goes.
    #[test]
    fn slots_that_are_told_of_a_change_overdraw_by_no_more_than_was_under_way(
        limit in 2i64..10, window in 1u64..8, steps in steps(Moves::Told),
    ) {
        run(limit, window, None, steps)?;
    }

    #[test]
    fn what_is_configured_holds_wherever_pulls_are_counted(
        limit in 3i64..10, window in 1u64..8, allowed in 1u64..5, steps in steps(Moves::Any),
    ) {
        run(limit, window, Some(allowed), steps)?;
    }
}
