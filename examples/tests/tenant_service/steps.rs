//! The commands of a page, and what it prints below each.

/// A command and what the page prints below it.
#[derive(Debug)]
pub(crate) struct Step {
    /// The heading that it stands under.
    pub(crate) heading: &'static str,
    pub(crate) line: &'static str,
    pub(crate) printed: String,
}

/// The commands of the `console` blocks under one heading of `page`, in order.
pub(crate) fn steps(page: &'static str, heading: &str) -> Vec<Step> {
    let mut steps = all_steps(page);
    steps.retain(|step| step.heading == heading);
    steps
}

/// The commands of all `console` blocks of `page`, in order.
pub(crate) fn all_steps(page: &'static str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut heading, mut inside, mut reading, mut indent) = ("", false, false, 0);
    for line in page.lines() {
        // A block in a list is indented as a whole.
        let bare = line.trim_start();
        let line = if inside {
            line.get(indent..).unwrap_or(bare)
        } else {
            line
        };
        if let Some(title) = line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")) {
            heading = title;
        } else if bare.starts_with("```") {
            indent = line.len() - bare.len();
            inside = bare == "```console";
            reading = false;
        } else if let Some(line) = line.strip_prefix("$ ").filter(|_| inside) {
            reading = true;
            steps.push(Step {
                heading,
                line,
                printed: String::new(),
            });
        } else if reading && let Some(step) = steps.last_mut() {
            step.printed.push_str(line);
            step.printed.push('\n');
        }
    }
    steps
}
