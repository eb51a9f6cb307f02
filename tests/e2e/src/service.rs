//! A service under a stand-in of systemd, and what makes it look at the world again.

use sandbox::http::ServiceName::{Imds, Scalelite};

use crate::{Rig, Run, Running, Systemd};

/// One service with the systemd that has started it.
#[derive(Debug)]
pub struct Service {
    /// The process.
    pub running: Running,
    /// Whom it tells how it stands.
    pub systemd: Systemd,
}

impl Rig {
    /// Starts the service under a systemd of its own, with these settings: see [`Rig::serve`].
    pub fn service(&self, settings: &[&str]) -> Service {
        let systemd = Systemd::start();
        Service { running: self.serve(Some(&systemd), settings), systemd }
    }

    /// The same, and returns once the host is registered.
    pub async fn serving(&self, settings: &[&str]) -> Service {
        let service = self.service(settings);
        service.systemd.shows_exactly("registered").await;
        service
    }

    /// Lets the service look at everything again, and returns once it has read the entries in Scalelite.
    pub async fn checked(&self, service: &Service) {
        let looks = self.cloud.journal.count(Scalelite, "getServers");
        service.running.signal("USR1").await;
        self.cloud.journal.reached(Scalelite, "getServers", looks + 1).await;
    }

    /// Lets the service look at everything again and again until this has happened: for what it tries again by itself, but
    /// not soon.
    pub async fn until(&self, service: &Service, happened: impl Future<Output = ()>) {
        let again = async {
            loop {
                service.running.signal("USR1").await;
                self.ticked(2).await;
            }
        };
        tokio::select! {
            () = happened => {}
            () = again => {}
        }
    }

    /// Returns once the service has asked the metadata service so many times more what is intended with the host.
    pub async fn ticked(&self, times: usize) {
        let asked = self.cloud.journal.count(Imds, "target-lifecycle-state");
        self.cloud.journal.reached(Imds, "target-lifecycle-state", asked + times).await;
    }
}

impl Service {
    /// Returns once it has come into this state so often.
    pub async fn comes_to(&mut self, state: &str, times: usize) {
        self.running.said(&format!("-> {state}:"), times).await;
    }

    /// systemd restarts it: this one ends, and undoes nothing.
    pub async fn restart(self, unit: &str) -> Run {
        self.end(&[&format!("{unit} restart")]).await
    }

    /// systemd has these jobs, or an operator's stop where there is none, and lets it end.
    pub async fn end(self, jobs: &[&str]) -> Run {
        if !jobs.is_empty() {
            self.systemd.does(jobs);
        }
        self.running.signal("TERM").await;
        self.running.end().await
    }
}
