//! Signatures that are kept beside an image, as files: a `dir:` has them, and nothing else.

use super::{Run, run::Staged};
use crate::{digest::Digest, error::Error, progress::Event};

/// Brings them along, to where there is a place for them and they are still good.
pub(super) async fn bring(
    run: &Run<'_>,
    source_digest: &Digest,
    staged: &Staged,
) -> Result<(), Error> {
    if run.options.remove_signatures {
        return Ok(());
    }
    let signatures = run.source.kept_signatures().await?;
    if signatures.is_empty() {
        return Ok(());
    }
    let warn = |why: &str| {
        let message = format!(
            "the signatures of {} stay behind: {why}",
            run.source.image()
        );
        run.cx
            .progress()
            .event(&Event::Warning { message: &message });
    };
    if staged.digest != *source_digest {
        warn("what is copied has another digest");
    } else if !run.sink.keep_signatures(signatures).await? {
        warn("only a dir: has a place for signatures in files");
    }
    Ok(())
}
