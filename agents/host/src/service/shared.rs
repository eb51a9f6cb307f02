//! What the service's jobs and calls share.

use std::cell::RefCell;
use std::collections::BTreeMap;

use secrecy::ExposeSecret;
use tokio::sync::OnceCell;

use crate::bbb::Installation;
use crate::identity::Host;
use crate::report::{Exit, Failure};
use crate::session::Session;

/// One configuration's session, and what was found out with it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) session: Session,
    /// Who this host is: its addresses may change, its instance and its name do not.
    pub(super) host: OnceCell<Host>,
    /// Its Auto Scaling group.
    pub(super) group: RefCell<Option<String>>,
    /// The lifecycle hook that holds it.
    pub(super) hook: RefCell<Option<String>>,
    /// BBB's settings when the host's entry was last looked after.
    joined: RefCell<Option<Installation>>,
    /// Why each kind of call failed last, as it was told.
    complaints: RefCell<BTreeMap<&'static str, String>>,
}

impl Shared {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            host: OnceCell::new(),
            group: RefCell::default(),
            hook: RefCell::default(),
            joined: RefCell::default(),
            complaints: RefCell::default(),
        }
    }

    /// Who this host is. The state machine asks for nothing before that is known.
    pub(super) fn host(&self) -> Result<&Host, Failure> {
        self.host.get().ok_or_else(|| Failure::new(Exit::TryAgain, "who this host is is not known yet"))
    }

    /// Why this kind of call failed, if it did and has not been told so already: what is tried again and again is told once.
    pub(super) fn is_news<'a>(&self, action: &'static str, why: Option<&'a String>) -> Option<&'a str> {
        let mut complaints = self.complaints.borrow_mut();
        let former = match why {
            Some(why) => complaints.insert(action, why.clone()),
            None => complaints.remove(action),
        };
        why.filter(|why| former.as_ref() != Some(why)).map(String::as_str)
    }

    /// The entry was looked after with these settings of BBB's.
    pub(super) fn joined_as(&self, installation: &Installation) {
        self.joined.replace(Some(installation.clone()));
    }

    /// Whether BBB's settings are others than those with which the entry was last looked after; that is told once.
    pub(super) fn is_changed(&self, installation: &Installation) -> bool {
        let mut joined = self.joined.borrow_mut();
        let Some(former) = joined.as_ref() else { return false };
        let same = former.server_url == installation.server_url
            && former.secret.expose_secret() == installation.secret.expose_secret();
        if !same {
            *joined = None;
        }
        !same
    }
}
