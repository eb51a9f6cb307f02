//! The program that tells the story of a host's life with the real binaries, then keeps the cloud up for trying it by
//! hand.

use std::process::ExitCode;

use sandbox::story;

fn main() -> ExitCode {
    let only_story = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--exit") => true,
        Some(other) => return usage(other),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(story::tell(only_story)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            story::say(&format!("sandbox: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn usage(argument: &str) -> ExitCode {
    story::say(&format!(
        "sandbox: {argument:?} is not known\nUsage: sandbox [--exit]   (--exit: end after the story)"
    ));
    ExitCode::from(2)
}
