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
pub(crate) fn surprises(verdicts: &[Verdict]) -> Vec<String> {
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
    surprises
}

/// Probes that get through nowhere: they prove nothing where they are held.
pub(crate) fn blind(verdicts: &[Verdict], probes: &[&Probe]) -> Vec<String> {
    let got_through = |probe: &&&Probe| {
        verdicts
            .iter()
            .any(|it| it.probe == probe.name && it.finding.outcome == Outcome::Leaked)
    };
    probes
        .iter()
        .filter(|probe| !got_through(probe))
        .map(|probe| format!("{} got through nowhere", probe.name))
        .collect()
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
