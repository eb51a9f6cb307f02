//! What EC2 is asked about instances, region by region. A region that cannot be asked proves nothing; of the own one
//! that is trouble.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use plan::instance::InstanceId;
use plan::sweep::{Conclusion, Evidence, Finding, Look, Reason, Sweeper};

use super::{Sweep, World};
use crate::report::{Exit, Failure};
use crate::retry::asked;
use crate::session::within;
use clients::aws::ec2::{self, Instances};

/// The longest time for a region that is not the host's own: there may be none of that name, and then nobody answers.
const ELSEWHERE: Duration = Duration::from_secs(20);

impl<W: World> Sweep<'_, W> {
    /// Asks about the instances of which that has to be known, and adds the answers to the evidence.
    pub(super) async fn look(
        &mut self,
        findings: &[Finding],
        evidence: &mut Evidence,
    ) -> Result<(), Failure> {
        let mut look = Look::default();
        for (region, instances) in self.sweeper.questions(findings) {
            let instances: Vec<InstanceId> = instances.into_iter().collect();
            let ec2 = self.world.ec2(&region).await?;
            match self.seen(&ec2, &region, &instances).await {
                Ok(seen) => look.instances.extend(seen.instances),
                Err(failure) => {
                    look.silent.insert(region.clone(), failure.headline());
                    if region == self.sweeper.region {
                        self.trouble.push(failure);
                    }
                }
            }
        }
        if !look.instances.is_empty()
            && !look.silent.contains_key(&self.sweeper.region)
            && !self.sweeper.is_known_to(&look)
        {
            self.trouble.push(self.unknown());
        }
        evidence.looks.push(look);
        Ok(())
    }

    /// EC2 does not know the host that asks it.
    fn unknown(&self) -> Failure {
        let Sweeper { me, region, .. } = &self.sweeper;
        Failure::new(Exit::Failed, format!("EC2 in {region}")).because(format!(
            "{}: whose credentials are these? {me} is not in their account, or was launched a moment ago",
            Reason::Blind
        ))
    }

    /// Asks EC2 in a region what it knows of instances.
    async fn seen(
        &self,
        ec2: &impl Instances,
        region: &str,
        instances: &[InstanceId],
    ) -> Result<Look, Failure> {
        let mut look = Look::default();
        for asked in instances.chunks(ec2::VALUES) {
            let seen = self.patiently(region, async || ec2.seen(asked).await).await?;
            look.instances.extend(seen.into_iter().map(|(id, seen)| ((region.to_owned(), id), seen)));
        }
        Ok(look)
    }

    /// Asks who has the addresses at the names that may have to go.
    pub(super) async fn ask_holders(
        &mut self,
        findings: &[Finding],
        evidence: &mut Evidence,
    ) -> Result<(), Failure> {
        let suspects: Vec<Finding> =
            findings.iter().filter(|finding| finding.verdict == Conclusion::AskAgain).cloned().collect();
        for (region, addresses) in self.sweeper.addresses(&suspects) {
            let ec2 = self.world.ec2(&region).await?;
            for address in addresses {
                let holders = self.holders(&ec2, &region, address).await;
                let known = evidence.holders.entry(address).or_insert_with(|| Ok(BTreeSet::new()));
                match (known, holders) {
                    (Ok(known), Ok(holders)) => known.extend(holders),
                    (known, Err(why)) => *known = Err(why),
                    (Err(_), Ok(_)) => {}
                }
            }
        }
        Ok(())
    }

    /// Who has an address, or why that is not known.
    async fn holders(
        &self,
        ec2: &impl Instances,
        region: &str,
        address: IpAddr,
    ) -> Result<BTreeSet<InstanceId>, String> {
        let holders = self.patiently(region, async || ec2.holders(address).await).await;
        let holders = holders.map_err(|failure| failure.headline())?;
        let ids = holders.iter().map(|id| InstanceId::parse(id).map_err(|error| error.to_string()));
        ids.collect()
    }

    /// Asks again as long as that may help.
    async fn patiently<T>(
        &self,
        region: &str,
        ask: impl AsyncFn() -> Result<T, ec2::Error>,
    ) -> Result<T, Failure> {
        let what = format!("EC2 in {region}");
        let patience = match region == self.sweeper.region {
            true => self.patience,
            false => self.patience.until(within(ELSEWHERE)),
        };
        asked(patience, &what, ec2::Error::is_retryable, ask).await
    }
}
