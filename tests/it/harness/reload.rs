//! Another configuration for a running mirror.

use super::process::Forebay;
use super::program::hang_up;

/// What tells that a configuration was read again.
const RELOADS: &str = "forebay_config_reloads_total";

impl Forebay {
    /// Replaces a part of its configuration file.
    pub(crate) fn rewrite(&self, from: &str, to: &str) {
        let file = self.config_file();
        let text = std::fs::read_to_string(&file).expect("it was written");
        assert!(text.contains(from), "{text}");
        std::fs::write(&file, text.replacen(from, to, 1)).expect("it can be written");
    }

    /// Asks it to read its configuration again, and waits until it has done so, whatever came of it.
    pub(crate) async fn reloaded(&self) {
        let before = self.metric(RELOADS, "").await;
        hang_up(self.pid());
        self.until_metric(RELOADS, "", |reloads| reloads > before)
            .await;
    }
}
