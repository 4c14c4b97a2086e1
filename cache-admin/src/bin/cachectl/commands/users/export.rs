//! `cachectl users export --format acl|terraform|elasticache FILE`.

use cache_admin::users::{Declaration, export};

use super::{Ended, Format, credentials};
use crate::exit::Exit;
use crate::output::Output;

pub(super) fn run(declaration: &Declaration, format: Format, output: &mut Output) -> Ended {
    let exported = match format {
        Format::Acl => export::acl_file(declaration, &credentials(declaration)?),
        Format::Terraform => export::terraform(declaration)?,
        Format::Elasticache => export::elasticache(declaration)?,
    };
    output.raw(exported.text.as_bytes())?;
    output.flush()?;
    for note in &exported.notes {
        output.warning(note);
    }
    Ok(Exit::Ok)
}
