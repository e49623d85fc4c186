//! What must hold, and what is known not to: the check that CI makes. It looks at outcomes alone.

use super::facts::Outcome;
use super::matrix::Verdict;
use super::probes::Probe;

/// Environments in which every probe must be held, and those that are known to get through:
/// `(environment, [(probe, why)])`.
const HOLDS: &[(&str, &[(&str, &str)])] = &[
    (
        "casulo",
        &[
            ("uptime", "no engine asks for a time namespace"),
            ("setuid", "engines set no_new_privs only when told to"),
        ],
    ),
    (
        "casulo userns",
        &[
            ("uptime", "no engine asks for a time namespace"),
            ("setuid", "engines set no_new_privs only when told to"),
        ],
    ),
    ("casulo strict", &[]),
];

/// Everything that is not as it must be.
pub(crate) fn surprises(verdicts: &[Verdict], probes: &[&Probe]) -> Vec<String> {
    let mut surprises = Vec::new();
    for (environment, exceptions) in HOLDS {
        for verdict in verdicts.iter().filter(|it| it.environment == *environment) {
            let exception = exceptions.iter().any(|(name, _)| *name == verdict.probe);
            let evidence = &verdict.finding.evidence;
            let what = format!("{} in {environment}", verdict.probe);
            match (verdict.finding.outcome, exception) {
                (Outcome::Leaked, false) => {
                    surprises.push(format!("{what} got through: {evidence}"))
                }
                (Outcome::Held, true) => surprises.push(format!("{what} is held now: {evidence}")),
                _ => {}
            }
            if evidence.contains("did not run") {
                surprises.push(format!("{what}: {evidence}"));
            }
        }
    }
    // What gets through nowhere proves nothing where it is held.
    for probe in probes {
        let mut own = verdicts.iter().filter(|it| it.probe == probe.name);
        if !own.any(|it| it.finding.outcome == Outcome::Leaked) {
            surprises.push(format!("{} got through nowhere", probe.name));
        }
    }
    surprises
}

/// The probes that docs/isolation.md does not explain.
pub(crate) fn unexplained(probes: &[&Probe]) -> Vec<String> {
    let text = include_str!("../../docs/isolation.md");
    probes
        .iter()
        .filter(|probe| !text.contains(&format!("**`{}`**", probe.name)))
        .map(|probe| format!("{} has no entry in docs/isolation.md", probe.name))
        .collect()
}
