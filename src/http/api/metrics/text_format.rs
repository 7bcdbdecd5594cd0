//! The text format of Prometheus, made of that of OpenMetrics. In it a counter's family has the name of its samples,
//! with `_total`, there are no units, `info` is a gauge, and no mark ends the text
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

/// The same metrics in the text format, version 0.0.4.
pub(super) fn of_open_metrics(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    // HELP comes before TYPE, which says what the name is to be.
    let mut help = None;
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next()) {
            (Some("#"), Some("HELP")) => help = words.next().zip(words.next()),
            (Some("#"), Some("TYPE")) => {
                let (Some(name), Some(kind)) = (words.next(), words.next()) else { continue };
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    kind => ("", kind),
                };
                if let Some((_, help)) = help.take().filter(|(of, _)| *of == name) {
                    text.push_str(&format!("# HELP {name}{suffix} {help}\n"));
                }
                text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
            }
            (Some("#"), _) => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_get_the_names_and_types_of_the_text_format() {
        let open_metrics = "# HELP calls Calls of \"a\".\n# TYPE calls counter\ncalls_total{a=\"# b\"} 1\n\
                            # HELP size Size.\n# TYPE size gauge\n# UNIT size bytes\nsize 2.5\n\
                            # HELP build Build.\n# TYPE build info\nbuild_info{version=\"1\"} 1\n# EOF\n";
        let text = "# HELP calls_total Calls of \"a\".\n# TYPE calls_total counter\ncalls_total{a=\"# b\"} 1\n\
                    # HELP size Size.\n# TYPE size gauge\nsize 2.5\n\
                    # HELP build_info Build.\n# TYPE build_info gauge\nbuild_info{version=\"1\"} 1\n";
        assert_eq!(of_open_metrics(open_metrics), text);
    }
}
