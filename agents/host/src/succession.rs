//! The successor of a fixed name: asks EC2 whether the name's former owner is gone, as `plan::sweep` demands it.

use std::cell::RefCell;
use std::time::Duration;

use clients::aws::ec2::{self, Instances};
use plan::dns::{Holder, Observed, Refusal, Source};
use plan::instance::{InstanceId, Role};
use plan::ownership::Owner;
use plan::record::Name;
use plan::sweep::{Conclusion, Evidence, Look, Reason, Sweeper};
use tokio::time::Instant;
use tracing::info;

use crate::config::settings::{Naming, Settings};
use crate::identity::Host;
use crate::report::{Exit, Failure};
use crate::retry::{Patience, asked};

/// What EC2 calls an instance that is about to be gone: it is worth asking again soon.
const ENDING: &str = "shutting-down";

/// The bounds of the succession to a fixed name.
#[derive(Clone, Debug)]
pub struct Bounds {
    domain: Name,
    grace: Duration,
    pause: Duration,
}

impl Bounds {
    /// Returns the bounds that these settings set; `None` where the name is made for the instance and has no heirs.
    pub fn of(settings: &Settings) -> Option<Self> {
        let (domain, sweep) = (settings.dns.domain.clone(), &settings.sweep);
        match settings.dns.naming {
            Naming::Fixed(_) => Some(Self { domain, grace: sweep.grace, pause: sweep.pause }),
            Naming::Template(_) => None,
        }
    }
}

/// What EC2 has said so far about the former owner of the name.
#[derive(Debug, Default)]
pub struct Inquiry {
    former: Option<Former>,
}

#[derive(Debug)]
struct Former {
    instance: InstanceId,
    evidence: Evidence,
    asked: Option<Instant>,
}

impl Inquiry {
    /// Tells whether EC2 is to be asked again.
    pub fn is_open(&self) -> bool {
        self.former.is_some()
    }
}

impl Former {
    fn new(instance: &InstanceId) -> Self {
        Self { instance: instance.clone(), evidence: Evidence::default(), asked: None }
    }
}

/// A host that may succeed the former owner of its fixed name.
#[derive(Debug)]
pub struct Heir<'a, E> {
    /// The bounds.
    pub bounds: Bounds,
    /// The host.
    pub host: &'a Host,
    /// The host's role.
    pub role: Role,
    /// EC2 in the host's region.
    pub ec2: E,
    /// What was found out so far.
    pub inquiry: &'a RefCell<Inquiry>,
    /// The patience of the caller, for EC2 and for the pause between two questions.
    pub patience: Patience,
}

impl<E: Instances> Heir<'_, E> {
    /// Returns the owner of the name that Route 53's API has shown, at `now`, if EC2 has proven that it is gone. Fails
    /// for now while EC2 has to be asked again.
    pub async fn predecessor(&self, observed: &Observed, now: u64) -> Result<Option<InstanceId>, Failure> {
        let Holder::Other(Refusal::Owner(owner)) = observed.holder(&self.host.instance) else {
            return Ok(None);
        };
        if observed.source != Source::Api {
            return Ok(None);
        }
        let mut former = match self.inquiry.take().former.filter(|former| former.instance == owner.instance) {
            Some(former) => former,
            None => Former::new(&owner.instance),
        };
        loop {
            match self.sweeper().succession(&owner, observed, &former.evidence, now) {
                Conclusion::Gone(_) => {
                    info!(
                        action = "register",
                        "{} is gone, as EC2 has said twice: {} goes over to this host",
                        owner.instance,
                        self.host.name
                    );
                    self.inquiry.replace(Inquiry { former: Some(former) });
                    return Ok(Some(owner.instance));
                }
                Conclusion::Leave(Reason::There(state)) if state == ENDING => {
                    self.inquiry.replace(Inquiry { former: Some(Former::new(&owner.instance)) });
                    let what = format!("{} belongs to {}", self.host.name, owner.instance);
                    let ending = Failure::new(Exit::TryAgain, what).because(format!("which is {state}"));
                    return Err(ending.at(self.bounds.pause));
                }
                Conclusion::Leave(reason) => {
                    info!(action = "register", "{} is left to {}: {reason}", self.host.name, owner.instance);
                    return Ok(None);
                }
                Conclusion::Ask | Conclusion::AskAgain => {}
            }
            if let Some(wait) = former.asked.and_then(|asked| self.bounds.pause.checked_sub(asked.elapsed()))
            {
                self.inquiry.replace(Inquiry { former: Some(former) });
                return Err(self.later(&owner, wait));
            }
            if let Err(failure) = self.ask(&owner, observed, &mut former.evidence).await {
                self.inquiry.replace(Inquiry { former: Some(former) });
                return Err(failure);
            }
            former.asked = Some(Instant::now());
        }
    }

    fn later(&self, owner: &Owner, wait: Duration) -> Failure {
        let what = format!("{} belongs to {}", self.host.name, owner.instance);
        Failure::new(Exit::TryAgain, what)
            .because("EC2 says that it is gone, and is asked once more")
            .at(wait)
    }

    /// Asks EC2 about the former owner, and who has the addresses at the name.
    async fn ask(&self, owner: &Owner, observed: &Observed, evidence: &mut Evidence) -> Result<(), Failure> {
        let what = format!("EC2 in {}", self.host.region);
        let instances = [owner.instance.clone(), self.host.instance.clone()];
        let seen = async || self.ec2.seen(&instances).await;
        let seen = asked(self.patience, &what, ec2::Error::is_retryable, seen).await?;
        for address in observed.ip_addresses() {
            let holders = async || self.ec2.holders(address).await;
            let holders = asked(self.patience, &what, ec2::Error::is_retryable, holders).await?;
            let holders = holders.iter().map(|id| InstanceId::parse(id).map_err(|error| error.to_string()));
            evidence.holders.insert(address, holders.collect());
        }
        let seen = seen.into_iter().map(|(id, seen)| ((self.host.region.clone(), id), seen));
        evidence.looks.push(Look { instances: seen.collect(), ..Look::default() });
        Ok(())
    }

    fn sweeper(&self) -> Sweeper {
        let Host { instance, region, account, .. } = self.host;
        Sweeper {
            me: instance.clone(),
            role: self.role,
            region: region.clone(),
            account: account.clone(),
            domain: self.bounds.domain.clone(),
            template: None,
            shared: None,
            grace: self.bounds.grace.as_secs(),
        }
    }
}
