//! One heavy test at a time.

use std::cell::RefCell;
use std::fs::File;
use std::path::Path;

thread_local! {
    static TURN: RefCell<Option<File>> = const { RefCell::new(None) };
}

/// Waits until no other heavy test runs, and is the only one until its thread ends, which is when the test does.
///
/// Tests that drive several processes or hundreds of sockets share a machine badly. The lock is on a file, since tests may
/// be threads of one process or processes of their own, whichever runs them.
pub(crate) fn heavy() {
    TURN.with_borrow_mut(|turn| {
        if turn.is_none() {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("heavy.lock");
            let file = File::create(path).expect("Cargo makes the directory");
            file.lock().expect("files can be locked");
            *turn = Some(file);
        }
    });
}
