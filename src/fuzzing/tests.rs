//! Every input of the corpora, and some thousands made from them, without a fuzzer. What that finds by luck, it finds in
//! seconds and in each run of the tests.

use std::collections::BTreeSet;
use std::fs;
use std::panic;
use std::path::PathBuf;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::TARGETS;

/// How many inputs are made for a target.
const MADE: usize = 4_000;
/// The longest that is made.
const LONGEST: usize = 4 << 10;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(name)
}

/// The names in a folder, without what comes after a dot.
fn names(folder: &str) -> BTreeSet<String> {
    let files = fs::read_dir(self::folder(folder)).unwrap();
    let name = |file: fs::DirEntry| {
        file.path()
            .file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    files.map(|file| name(file.unwrap())).collect()
}

/// The corpus of a target, in one order.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(folder("corpus").join(target)).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// An input like those of the corpus: one, changed in up to eight places, or the parts of two.
fn made(corpus: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let any = |random: &mut StdRng| corpus[random.random_range(0..corpus.len())].clone();
    let mut input = any(random);
    for _ in 0..random.random_range(1..=8) {
        let at = random.random_range(0..=input.len());
        match random.random_range(0..6) {
            0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
            1 if at < input.len() => input[at] = random.random(),
            2 => input.insert(at, random.random()),
            3 => input.truncate(at),
            4 => {
                let end = random.random_range(at..=input.len().min(at + 64));
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
            _ => {
                let other = any(random);
                let from = random.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
    input.truncate(LONGEST);
    input
}

#[test]
fn everything_that_fuzzers_have_met_holds() {
    for (name, check) in TARGETS {
        let corpus = corpus(name);
        assert!(corpus.len() >= 8, "{name} has a corpus of {}", corpus.len());
        for input in corpus {
            check(&input);
        }
    }
}

#[test]
fn what_is_made_from_it_holds_too() {
    for (name, check) in TARGETS {
        let corpus = corpus(name);
        let mut random = StdRng::seed_from_u64(6);
        for _ in 0..MADE {
            let input = made(&corpus, &mut random);
            let held = panic::catch_unwind(|| check(&input));
            assert!(
                held.is_ok(),
                "{name} fails on {:?}",
                input.escape_ascii().to_string()
            );
        }
    }
}

#[test]
fn every_target_has_a_fuzzer_and_a_corpus() {
    let known: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("corpus"), known);
    assert_eq!(names("fuzz_targets"), known);
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    for name in known {
        let path = format!("path = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&path), "fuzz/Cargo.toml has no {name}");
        let target = folder("fuzz_targets").join(format!("{name}.rs"));
        let call = format!("fuzzing::check(\"{name}\", data)");
        assert!(
            fs::read_to_string(target).unwrap().contains(&call),
            "{name}"
        );
    }
}
