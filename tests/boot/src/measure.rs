//! Measurements: the times of a guest with the agent, compared with the same guest without it.

use std::time::Instant;

use crate::guest::until;
use crate::scenarios::image;
use crate::stage::{INSTALL_BBB, Role, Stage, WITHOUT_CLI};
use crate::world::World;
use crate::{Outcome, say};

/// The measured times in seconds, one for each run.
#[derive(Debug, Default)]
struct Times(Vec<f64>);

impl Times {
    fn add(&mut self, began: Instant) {
        self.0.push(began.elapsed().as_secs_f64());
    }

    /// Formats the smallest, the median and the greatest time.
    fn line(&mut self, what: &str) -> String {
        self.0.sort_by(f64::total_cmp);
        let at = |index: usize| self.0.get(index).copied().unwrap_or(f64::NAN);
        let last = self.0.len().saturating_sub(1);
        format!("{what:<50} {:>7.2} {:>7.2} {:>7.2}", at(0), at(last / 2), at(last))
    }
}

/// Prints a table of the measured times.
pub(crate) async fn measure(world: &World, runs: usize) -> Outcome {
    let mut rows: [(&str, Times); 9] = [
        ("bare boot: until multi-user.target", Times::default()),
        ("bare power-off: until the guest is dead", Times::default()),
        ("install.sh, without the CLI: from start to ready", Times::default()),
        ("boot with the agent: until multi-user.target", Times::default()),
        ("boot with the agent: until the name is there", Times::default()),
        ("boot with the agent: until enabled in Scalelite", Times::default()),
        ("power-off with the agent: until dead, all undone", Times::default()),
        ("launch, BBB installed at boot: until enabled", Times::default()),
        ("launch from an image: until enabled", Times::default()),
    ];
    for _ in 0..runs {
        let [bare, bare_off, install, target, named, joined, off, installed, imaged] = &mut rows;
        let stage = Stage::set(world, Role::Bbb).await?;
        stage.cloud.imds.update(|facts| facts.user_data = Some(WITHOUT_CLI.to_owned()))?;
        // The first boot of a disk sets things up.
        let guest = stage.boot().await?;
        guest.reaches("cloud-final.service", "active").await?;
        guest.power_off().await?;
        let began = Instant::now();
        let guest = stage.boot().await?;
        guest.reaches("multi-user.target", "active").await?;
        bare.1.add(began);
        let began = Instant::now();
        guest.power_off().await?;
        bare_off.1.add(began);

        let guest = stage.boot().await?;
        guest.reaches("cloud-final.service", "active").await?;
        let began = Instant::now();
        let (code, said) = stage.install_again(&guest, &[]).await?;
        crate::ensure(code == 0, || format!("install.sh ended with {code}:\n{said}"))?;
        install.1.add(began);
        guest.run("sh", &["-c", INSTALL_BBB]).await?;
        stage.joined().await?;
        guest.power_off().await?;
        stage.gone()?;

        let began = Instant::now();
        let guest = stage.boot().await?;
        guest.reaches("multi-user.target", "active").await?;
        target.1.add(began);
        until("the name is there", async || Ok(stage.has_name().is_ok())).await?;
        named.1.add(began);
        stage.joined().await?;
        joined.1.add(began);
        let began = Instant::now();
        guest.power_off().await?;
        off.1.add(began);
        stage.gone()?;
        // Each cloud has the addresses of the real services.
        drop(stage);

        launch_installed(world, &mut installed.1).await?;
        launch_image(world, &mut imaged.1).await?;
    }
    say(&format!("{:<50} {:>7} {:>7} {:>7}", "seconds", "least", "median", "most"));
    rows.iter_mut().for_each(|(what, times)| say(&times.line(what)));
    Ok(())
}

/// Measures a launch with the shipped UserData, which installs BBB. The installer is a stand-in, and takes no time.
async fn launch_installed(world: &World, times: &mut Times) -> Outcome {
    let stage = Stage::set(world, Role::Bbb).await?;
    stage.shipped()?;
    let began = Instant::now();
    let guest = stage.boot().await?;
    stage.joined().await?;
    times.add(began);
    guest.reaches("cloud-final.service", "active").await?;
    guest.power_off().await?;
    stage.gone()
}

/// Measures a launch with the shipped UserData from an image that has BBB. Its restart is a stand-in, and takes no time.
async fn launch_image(world: &World, times: &mut Times) -> Outcome {
    let stage = Stage::set(world, Role::Bbb).await?;
    let (host, _) = image::baked(&stage).await?;
    let began = Instant::now();
    let (guest, _) = image::launched(&host).await?;
    times.add(began);
    guest.reaches("cloud-final.service", "active").await?;
    guest.power_off().await?;
    host.gone()
}
