//! Clients that flood an HTTP/2 connection with frames: the connection ends or serves on, at little cost.

use super::*;
use crate::faulty::{memory_of, ticks_of};

pub(super) const CONTINUATION: u8 = 9;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

/// The reason of the GOAWAY frame that ends the connection; none if the connection ends without one.
pub(super) fn goaway(frames: &mut Frames) -> Option<u32> {
    while let Some(frame) = frames.next() {
        if frame.kind == GOAWAY {
            return Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
        }
    }
    None
}

#[test]
fn h14_a_flood_of_resets_continuations_or_empty_frames_ends_its_connection() {
    type Flood = fn(&mut Frames);
    let floods: [(&str, Flood); 3] = [
        ("resets", |frames| {
            for n in 0..3_000 {
                frames.call(2 * n + 1, "run", "[]");
                frames.send(RESET, 0, 2 * n + 1, &8_u32.to_be_bytes());
            }
        }),
        ("continuations", |frames| {
            frames.send(HEADERS, END_STREAM, 1, &[0x83, 0x86]);
            for _ in 0..3_000 {
                frames.send(CONTINUATION, 0, 1, &[&[0, 1, b'x', 100][..], &[b'y'; 100]].concat());
            }
        }),
        ("empty frames", |frames| {
            frames.post(1, &path("run"), 0);
            for _ in 0..50_000 {
                frames.send(DATA, 0, 1, &[]);
            }
        }),
    ];
    let gateway = serving("");
    for (name, flood) in floods {
        let (before, ticks) = (gateway.resident_bytes(), ticks_of(gateway.pid()));
        let mut frames = Frames::open(&gateway);
        flood(&mut frames);
        assert_eq!(goaway(&mut frames), Some(ENHANCE_YOUR_CALM), "{name}");
        drop(frames);
        // A tick is 10 ms.
        let (grown, ticks) = (gateway.resident_bytes().saturating_sub(before), ticks_of(gateway.pid()) - ticks);
        println!("{name}: {ticks} ticks, {grown} bytes");
        assert!(grown < 8 << 20, "{name}: the gateway grew by {grown} bytes");
        assert!(ticks < 100, "{name}: {ticks} ticks");
        wait_for("no call in flight", || (gateway.readiness("it")["in_flight"] == 0).then_some(()));
        assert_eq!(curl(&gateway, &path("args"), &["--data", "[1]"]).json(), json!([1]), "{name}");
    }
    assert_eq!(gateway.readiness("it")["restarts"], 0);
}

#[test]
fn h14_a_flood_of_pings_and_settings_holds_no_memory_and_its_connection_serves_on() {
    let gateway = serving("");
    let before = memory_of(gateway.pid(), "VmRSS");
    let mut frames = Frames::open(&gateway);
    for _ in 0..5_000 {
        frames.send(PING, 0, 0, &[0; 8]);
        frames.send(SETTINGS, 0, 0, &[]);
    }
    frames.call(1, "args", "[1]");
    assert_eq!(frames.body(), (1, json!([1])));
    let after = memory_of(gateway.pid(), "VmRSS");
    assert!(after < before + 8 * 1024, "{before} → {after} KiB");
}
