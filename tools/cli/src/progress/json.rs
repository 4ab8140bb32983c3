//! Events as JSON lines, for programs that watch a transfer: one object a line on stderr, its kind in the member `event`.

use libimage::progress::{BlobKind, Event};
use serde_json::{Value, json};

/// The object for an event; `None` for a kind that has no form here yet.
pub(super) fn of(event: &Event<'_>) -> Option<Value> {
    Some(match event {
        Event::Started {
            digest,
            kind,
            total,
        } => {
            json!({"event": "started", "digest": digest, "kind": word(*kind), "totalBytes": total})
        }
        Event::Advanced { digest, done } => {
            json!({"event": "advanced", "digest": digest, "doneBytes": done})
        }
        Event::Skipped { digest, why } => {
            json!({"event": "skipped", "digest": digest, "reason": why})
        }
        Event::Mounted { digest, from } => {
            json!({"event": "mounted", "digest": digest, "from": from})
        }
        Event::Unpacked {
            diff_id,
            entries,
            bytes,
        } => json!({"event": "unpacked", "diffId": diff_id, "entries": entries, "bytes": bytes}),
        Event::Retry {
            what,
            after,
            reason,
        } => json!({
            "event": "retry", "what": what, "reason": reason,
            "afterMilliseconds": u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
        }),
        Event::Done { digest } => json!({"event": "done", "digest": digest}),
        Event::Image {
            from,
            to,
            outcome,
            reason,
        } => {
            json!({"event": "image", "from": from, "to": to, "outcome": outcome, "reason": reason})
        }
        Event::Warning { message } => json!({"event": "warning", "message": message}),
        _ => return None,
    })
}

fn word(kind: BlobKind) -> &'static str {
    match kind {
        BlobKind::Manifest => "manifest",
        BlobKind::Config => "config",
        BlobKind::Layer => "layer",
        _ => "other",
    }
}
