//! Parts of something, brought to a destination that is open.

use crate::{
    context::Context,
    copy::{CopyOptions, CopyReport, Run, plan, sign, transfer},
    error::Error,
    manifest::Content,
    transport::{Sink, Source},
    trust::Verified,
};

impl<'a> Run<'a> {
    /// Prepares to bring parts of something to a destination that is open, whatever has its name.
    pub(crate) async fn between(
        cx: &'a Context,
        source: Source,
        sink: Sink,
        options: &'a CopyOptions,
    ) -> Result<Self, Error> {
        Ok(Self {
            signing: sign::Signing::new(cx, sink.image(), &options.sign)?,
            chosen: None,
            asked: source.head().await?,
            present: None,
            cx,
            options,
            source,
            sink,
        })
    }

    /// Brings everything below a manifest to the destination; if that is an image, the manifest itself too, without a name.
    pub(crate) async fn bring(&self, top: Verified, report: &mut CopyReport) -> Result<(), Error> {
        let is_image = matches!(top.manifest().content(), Content::Image { .. });
        if is_image && self.sink.has_manifest(top.digest()).await? {
            return Ok(());
        }
        let walk = plan::Walk {
            source: &self.source,
            sink: &self.sink,
            ask: true,
            jobs: self.options.jobs,
            only: None,
        };
        let plan = walk.plan(top).await?;
        let mut staged = transfer::stage(self, plan).await?;
        if is_image {
            self.sink.put_child(&staged.top, &staged.digest).await?;
            staged.tally.manifests += 1;
        }
        report.add(&staged.tally);
        Ok(())
    }
}
