//! Eviction against a model, while images are pulled, blobs come that nobody asks for twice, readers
//! hold files open, hours pass and the store is restarted.
//!
//! The model knows what is stored, when it was last used and which manifests were served when. From
//! that it says, for what went in one step, whether it was its turn:
//! - what is guarded went only where nothing else could, and no more of it than was needed, the
//!   image that was served longest ago first;
//! - of all else the least recently used went first;
//! - what a reader has open stayed, and reads right.
//!
//! `PROPTEST_CASES` sets how many sequences are tried.

mod checks;
mod images;
mod model;
mod steps;

use proptest::prelude::*;

use super::support::audit;
use images::{IMAGES, LAYERS, OTHERS};
use model::Model;

/// Each takes a third of a second.
const CASES: u32 = 20;

#[derive(Clone, Debug)]
enum Step {
    Pull { image: usize },
    Serve { image: usize },
    Fill { other: usize },
    Read { blob: usize },
    Open { blob: usize },
    Close,
    Advance { weeks: u64 },
    Upkeep,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let image = || 0..IMAGES;
    let blob = || 0..LAYERS + OTHERS;
    prop_oneof![
        8 => image().prop_map(|image| Step::Pull { image }),
        4 => image().prop_map(|image| Step::Serve { image }),
        10 => (0..OTHERS).prop_map(|other| Step::Fill { other }),
        4 => blob().prop_map(|blob| Step::Read { blob }),
        2 => blob().prop_map(|blob| Step::Open { blob }),
        2 => Just(Step::Close),
        4 => (1..12_u64).prop_map(|weeks| Step::Advance { weeks }),
        1 => Just(Step::Upkeep),
        1 => Just(Step::Restart),
    ]
}

fn cases() -> u32 {
    let set = std::env::var("PROPTEST_CASES").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(CASES)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::with_cases(cases())
    })]

    #[test]
    fn what_goes_is_what_the_model_says(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut model = Model::new().await;
            for step in steps {
                model.step(step).await;
            }
            model.reading.clear();
            audit(&model.dir, &model.store).await;
        });
    }
}
