//! A storm that is over in a few seconds: whatever it counts has to be exact; how long it takes is measured elsewhere.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::time::Duration;

use bench::storm::{self, Options};
use sandbox::route53::BucketSize;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_host_of_a_small_storm_is_registered_once_and_leaves() {
    let options = Options {
        hosts: 40,
        quota: BucketSize { capacity: 10, per_second: 40.0 },
        processing: Duration::from_millis(3),
        spread: 1,
        processes: 3,
        propagation: Duration::from_millis(200),
        patience: Duration::from_secs(300),
        leave: Some(Duration::from_secs(80)),
        unkind: Some(1),
    };
    let mut figures = storm::run(&options, Path::new(env!("CARGO_BIN_EXE_storm"))).await.unwrap();
    let table = figures.table();
    assert_eq!(
        (figures.registered, figures.doubled, figures.enabled, figures.entries),
        (40, 0, 40, 40),
        "{table}"
    );
    assert!(figures.live, "{table}");
    // One for each host is the least; hosts that are late on a busy machine meet others in the middle of a change.
    assert!((40..200).contains(&figures.boot.total()), "{table}");
    let left = figures.left.as_ref().unwrap();
    assert_eq!((left.names, left.entries), (0, 0), "{table}");
    let joins = figures.scalelite["addServer"];
    assert!(joins.calls >= 40 && joins.rows >= 40 && joins.bytes > 40 * 200, "{table}");
    assert_eq!(left.scalelite.get("addServer"), None, "{table}");
    println!("{table}{}", sandbox::scalelite::table(&figures.scalelite));

    figures.registered -= 1;
    let missed: Vec<_> = figures.aims().into_iter().filter(|aim| !aim.met).map(|aim| aim.name).collect();
    assert!(missed.contains(&"hosts registered"), "a host that is missing is seen: {missed:?}");
}
