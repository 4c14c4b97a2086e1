//! The commands of a page, and what it prints below each.

/// A command and what the page prints below it.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) line: &'static str,
    pub(crate) printed: String,
}

/// The commands of the `console` blocks under one heading of `page`, in order.
pub(crate) fn steps(page: &'static str, heading: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut here, mut reading) = (false, false);
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            here = title == heading;
        } else if line.starts_with("```") {
            reading = false;
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| here) {
            reading = true;
            steps.push(Step {
                line: command,
                printed: String::new(),
            });
        } else if reading && let Some(step) = steps.last_mut() {
            step.printed.push_str(line);
            step.printed.push('\n');
        }
    }
    steps
}
