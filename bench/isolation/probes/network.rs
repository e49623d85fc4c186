//! The host's network, as far as the kernel gives it to a process by itself.

use super::{Group, Probe, Proof};
use crate::isolation::facts::{Facts, Finding};
use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

probes! {
    PROBES, Network:
    "interfaces", "see the host's network interfaces", Answer => interfaces;
    "port", "bind among the host's ports", Answer => port;
    "abstract-socket", "connect to a host's abstract Unix socket", Secret => abstract_socket;
}

fn interfaces(facts: &Facts) -> Finding {
    if facts.interfaces.is_empty() {
        return Finding::not_applicable("the host has no interface but lo");
    }
    let seen = match fs::read_to_string("/proc/self/net/dev") {
        Ok(text) => interface_names(&text),
        Err(error) => return Finding::held(format!("/proc/self/net/dev: {error}")),
    };
    let shown = if seen.is_empty() {
        "sees lo alone".to_owned()
    } else {
        format!("sees {}", seen.join(", "))
    };
    if seen.iter().any(|name| facts.interfaces.contains(name)) {
        Finding::leaked(shown)
    } else {
        Finding::held(shown)
    }
}

/// The names in a `/proc/net/dev`, but `lo`.
pub(crate) fn interface_names(text: &str) -> Vec<String> {
    text.lines()
        .skip(2)
        .filter_map(|line| line.split(':').next())
        .map(|name| name.trim().to_owned())
        .filter(|name| name != "lo")
        .collect()
}

/// A port that is taken on the host is free in a network namespace of our own.
fn port(facts: &Facts) -> Finding {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, facts.port)) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::leaked(format!(
            "port {} is taken by the host's process: the ports are the host's",
            facts.port
        )),
        Ok(_) => Finding::held(format!(
            "bound port {}, which the host has taken: other ports",
            facts.port
        )),
        Err(error) => Finding::held(format!("bind of port {}: {error}", facts.port)),
    }
}

fn abstract_socket(facts: &Facts) -> Finding {
    let stream = SocketAddr::from_abstract_name(&facts.socket)
        .and_then(|address| UnixStream::connect_addr(&address));
    let mut text = String::new();
    match stream.and_then(|mut stream| stream.read_to_string(&mut text)) {
        Ok(_) => Finding::leaked(format!("was told {text:?}")),
        Err(error) => Finding::held(format!("connect: {error}")),
    }
}
