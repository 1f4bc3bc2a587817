//! Searches an access log, line by line: such files are large. Lines that are no decisions are
//! passed over, so that a whole output of `authsome up` will do.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::Path;

use anyhow::Context;
use authsome_proxy::decision::{Decision, rfc3339};

use super::{Answer, Told, Vain};

pub fn search(path: &Path, id: &str) -> anyhow::Result<Answer> {
    let source = path.display().to_string();
    let input: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(stdin()),
        _ => Box::new(File::open(path).with_context(|| format!("can't read {source}"))?),
    };
    let mut input = BufReader::new(input);
    let (mut line, mut first, mut count) = (Vec::new(), None, 0_u64);
    loop {
        line.clear();
        let read = input.read_until(b'\n', &mut line);
        if read.with_context(|| format!("can't read {source}"))? == 0 {
            break;
        }
        // Most lines are not looked at further.
        let text = String::from_utf8_lossy(&line);
        if first.is_some() && !text.contains(id) {
            count += 1;
            continue;
        }
        let Ok(decision) = serde_json::from_str::<Decision>(&text) else { continue };
        count += 1;
        first.get_or_insert(decision.time);
        if *decision.request_id == *id {
            let decision = text.trim().to_owned();
            return Ok(Ok(Told { source, node: None, decision }));
        }
    }
    let outcome = match first {
        Some(first) => format!("not among its {count} lines, which begin at {}", rfc3339(first)),
        None => "it holds no lines of an access log".into(),
    };
    Ok(Err(Vain { source, outcome }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_among_others_that_are_none() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let line = |id: &str| {
            let decision = Decision { request_id: id.into(), ..Decision::default() };
            serde_json::to_string(&decision).expect("JSON")
        };
        let text =
            format!("AuthSome Cloud is up.\n{}\nnot JSON\n{}\n", line("req_1"), line("req_2"));
        std::fs::write(file.path(), text).expect("written");
        let told = |id| search(file.path(), id).expect("readable");
        let found = told("req_2").map_err(|it| it.outcome).expect("found");
        assert_eq!(found.decision, line("req_2"));
        let vain = told("req_3").map(|it| it.decision).expect_err("unknown");
        assert!(vain.outcome.contains("3 lines, which begin at 1970-01-01T"), "{}", vain.outcome);
    }
}
