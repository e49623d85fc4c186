//! A network namespace that is made ahead: by a short-lived child of the parent, while that records the container and
//! makes its cgroup and init.
//!
//! The kernel takes longer for one network namespace than for all others together (0.4 ms), so init would wait for it
//! most. A namespace belongs to the user namespace of who makes it, hence this is for containers without one.

use super::spawn::{By, made_by, unshare_all};
use super::{Kind, Plan, join, network};
use crate::error::{Code, Context, Error, Result};
use crate::sync::{Channel, Message};
use crate::sys::child::{self, Patience, end_with, leave};
use crate::sys::clone::{Side, clone3};
use crate::sys::exe;
use crate::testing::fault::{self, Step};
use nix::sched::setns;
use nix::unistd::Pid;
use std::os::fd::OwnedFd;

/// The process that makes the namespace. Dropping this ends it, if it has not ended by itself, and waits for it.
#[derive(Debug)]
pub struct NetworkMaker(Pid);

/// What init inherits: from here it gets the namespace.
#[derive(Debug)]
pub struct NewNetwork(Channel);

/// Parent, before anything of the container is there: has its network namespace made, if that can be done ahead.
/// Needs CAP_SYS_ADMIN, which the maker is the one to miss: init hears of it.
///
/// # Errors
/// E_NAMESPACE where no process can be made; E_SYNC.
pub fn make_network_ahead(plan: &Plan) -> Result<Option<(NetworkMaker, NewNetwork)>> {
    if made_by(plan, By::Ahead).is_empty() {
        return Ok(None);
    }
    let (ours, theirs) = Channel::pair()?;
    let parent = Pid::this();
    match clone3(0, None).context(Code::Namespace, "create", "process")? {
        Side::Parent(pid) => Ok(Some((NetworkMaker(pid), NewNetwork(ours)))),
        Side::Child => {
            // The parent's is then the last, and it need not wait for this process.
            exe::let_go();
            drop(ours);
            let message = match make(plan, parent) {
                Ok(namespace) => Message::Network(namespace),
                Err(error) => Message::Failed(error),
            };
            // If init is gone, or will never be, there is nobody to tell.
            let _ = theirs.send(&message);
            leave(0)
        }
    }
}

/// The maker, with the caller's privileges: the namespace, with its loopback device set up.
fn make(plan: &Plan, parent: Pid) -> Result<OwnedFd> {
    end_with(parent).context(Code::Process, "set the parent-death signal", "")?;
    fault::at(Step::MakeNetwork)?;
    unshare_all(plan, By::Ahead)?;
    network::loopback_up()?;
    join::own(Kind::Network)
}

impl Drop for NetworkMaker {
    fn drop(&mut self) {
        // Where it has ended by itself, init was told how that went.
        if let Ok(None) = child::wait(Some(self.0), Patience::Now) {
            child::end(self.0);
        }
    }
}

impl NewNetwork {
    /// Init: waits for the namespace, and joins it.
    ///
    /// # Errors
    /// E_NAMESPACE and E_NETWORK: why it could not be made.
    pub(super) fn enter(self) -> Result<()> {
        let namespace = match self.0.receive()? {
            Some(Message::Network(namespace)) => namespace,
            Some(Message::Failed(error)) => return Err(error),
            _ => {
                return Err(Error::new(
                    Code::Namespace,
                    "the process that makes the network namespace ended early",
                ));
            }
        };
        setns(&namespace, Kind::Network.clone_flags()).context(
            Code::Namespace,
            "enter",
            "new network namespace",
        )
    }
}
