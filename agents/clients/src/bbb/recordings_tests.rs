use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::*;

/// A limit longer than any test may take.
const PATIENT: Duration = Duration::from_secs(600);

fn spool() -> Spool {
    Spool::new("/spool".into(), Sending::Unused)
}

fn one() -> Listing {
    Listing { raw: [("recording".to_owned(), Duration::ZERO)].into(), ..Listing::default() }
}

/// Returns a listing that returns only when it is released, like one on a mount whose server is down. Simulating that
/// would need a file system of its own, so this test covers only the thread.
fn hanging(
    threads: &Arc<AtomicUsize>,
) -> (mpsc::Sender<()>, impl FnOnce() -> Result<Listing, Error> + use<>) {
    let (let_go, wait) = mpsc::channel();
    let threads = Arc::clone(threads);
    let list = move || {
        threads.fetch_add(1, Ordering::SeqCst);
        let _ = wait.recv();
        Ok(one())
    };
    (let_go, list)
}

fn hangs(result: Result<Listing, Error>) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Hangs { .. }), "{error}");
    assert!(error.to_string().starts_with("cannot list the recordings in /spool: no answer for "), "{error}");
}

#[tokio::test]
async fn a_spool_that_hangs_costs_one_thread() {
    let (spool, threads) = (spool(), Arc::new(AtomicUsize::new(0)));
    let (let_go, list) = hanging(&threads);
    hangs(spool.list(Duration::ZERO, list).await);
    for _ in 0..3 {
        let never: fn() -> Result<Listing, Error> = || panic!("a second thread");
        hangs(spool.list(Duration::ZERO, never).await);
    }
    // The listing returns: a look with enough time gets its answer or, if it had arrived before, lists anew.
    let_go.send(()).unwrap();
    assert_eq!(spool.list(PATIENT, || Ok(one())).await, Ok(one()));
    assert_eq!(threads.load(Ordering::SeqCst), 1);
    assert_eq!(spool.list(PATIENT, || Ok(Listing::default())).await, Ok(Listing::default()));
}

#[tokio::test]
async fn a_look_that_nobody_waits_for_is_not_begun_twice() {
    let (spool, threads) = (spool(), Arc::new(AtomicUsize::new(0)));
    let (let_go, list) = hanging(&threads);
    // The caller's own limit ends first.
    assert!(timeout(Duration::ZERO, spool.list(PATIENT, list)).await.is_err());
    let never: fn() -> Result<Listing, Error> = || panic!("a second thread");
    let second = spool.list(PATIENT, never);
    let (second, sent) = tokio::join!(second, async { let_go.send(()) });
    assert_eq!((second, sent), (Ok(one()), Ok(())));
    assert_eq!(threads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_thread_that_dies_is_an_error_and_the_next_look_goes_on() {
    let spool = spool();
    let error = spool.list(PATIENT, || panic!("as a broken disk makes it")).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot list the recordings in /spool: the thread ended without an answer");
    assert_eq!(spool.list(PATIENT, || Ok(one())).await, Ok(one()));
}
