//! The outcome as JUnit XML: a test suite per benchmark, a test case per metric.

use quick_xml::Writer;

use super::{GateOutcome, OutcomeLine, Verdict};
use crate::error::Result;
use crate::escape::visible;

/// Returns the bytes of the XML file.
pub fn xml(outcome: &GateOutcome) -> Result<Vec<u8>> {
    let mut suites: Vec<(&str, Vec<&OutcomeLine>)> = Vec::new();
    for line in &outcome.lines {
        match suites.iter_mut().find(|(name, _)| *name == line.key.benchmark) {
            Some((_, lines)) => lines.push(line),
            None => suites.push((&line.key.benchmark, vec![line])),
        }
    }
    let mut bytes = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_vec();
    let mut writer = Writer::new_with_indent(&mut bytes, b' ', 2);
    let all: Vec<&OutcomeLine> = outcome.lines.iter().collect();
    let root = writer.create_element("testsuites").with_attributes(counts("mkgc gate", &all).each_ref().map(pair));
    root.write_inner_content(|writer| suites.iter().try_for_each(|(name, lines)| suite(writer, name, lines)))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Returns the bytes of an XML file that says why there is no outcome.
pub fn error(message: &str) -> Result<Vec<u8>> {
    let mut bytes = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_vec();
    let mut writer = Writer::new_with_indent(&mut bytes, b' ', 2);
    let counts = [("name", "mkgc gate"), ("tests", "1"), ("failures", "0"), ("errors", "1")];
    let message = visible(message);
    let root = writer.create_element("testsuites").with_attributes(counts);
    root.write_inner_content(|writer| {
        writer.create_element("testsuite").with_attributes(counts).write_inner_content(|writer| {
            writer.create_element("testcase").with_attribute(("name", "gate")).write_inner_content(|writer| {
                writer.create_element("error").with_attribute(("message", message.as_ref())).write_empty()?;
                Ok(())
            })?;
            Ok(())
        })?;
        Ok(())
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn counts(name: &str, lines: &[&OutcomeLine]) -> [(&'static str, String); 3] {
    let failures = lines.iter().filter(|line| line.verdict == Verdict::Fail).count();
    [("name", visible(name).into_owned()), ("tests", lines.len().to_string()), ("failures", failures.to_string())]
}

fn pair<'a>((key, value): &'a (&'static str, String)) -> (&'a str, &'a str) {
    (key, value.as_str())
}

fn suite(writer: &mut Writer<&mut Vec<u8>>, name: &str, lines: &[&OutcomeLine]) -> std::io::Result<()> {
    let element = writer.create_element("testsuite").with_attributes(counts(name, lines).each_ref().map(pair));
    element.write_inner_content(|writer| lines.iter().try_for_each(|line| case(writer, line)))?;
    Ok(())
}

fn case(writer: &mut Writer<&mut Vec<u8>>, line: &OutcomeLine) -> std::io::Result<()> {
    let class = format!("{}.{}.{}", line.key.benchmark, line.key.method, line.key.device);
    let [class, metric, reason] = [&class, &line.metric, &line.reason].map(|text| visible(text));
    let element =
        writer.create_element("testcase").with_attributes([("classname", class.as_ref()), ("name", metric.as_ref())]);
    if line.verdict == Verdict::Pass {
        element.write_empty()?;
        return Ok(());
    }
    // JUnit has no verdict between pass and failure, so a gain is reported as output.
    element.write_inner_content(|writer| {
        if line.verdict == Verdict::Fail {
            writer.create_element("failure").with_attribute(("message", reason.as_ref())).write_empty()?;
        } else {
            let text = quick_xml::events::BytesText::new(&reason);
            writer.create_element("system-out").write_text_content(text)?;
        }
        Ok(())
    })?;
    Ok(())
}
