//! The status screen: parts, doors, rates, problems, the last lines. It draws what others know.

mod draw;

use super::context::Context;
use super::parts::{ObjectCounts, Parts};
use super::report::Event;
use crossterm::event::{Event as Input, KeyCode, KeyModifiers};
use runtime::clock::Instant;
use runtime::shutdown::Shutdown;
use std::collections::VecDeque;
use std::io::{IsTerminal as _, Stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Lines that are kept to be shown.
const LINES_MAX: usize = 500;
const DRAW_EVERY: Duration = Duration::from_millis(500);

type Terminal = ratatui::Terminal<ratatui::backend::CrosstermBackend<Stdout>>;

/// Whether there is a terminal to draw on, and nobody asked for lines.
pub(crate) fn wanted(json: bool, plain: bool) -> bool {
    !json && !plain && std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

/// What is drawn.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) parts: Parts,
    pub(crate) lines: VecDeque<String>,
    pub(crate) problems: VecDeque<String>,
    /// The counts before, to make rates of.
    pub(crate) before: (Instant, ObjectCounts),
    pub(crate) now: (Instant, ObjectCounts),
    pub(crate) data: String,
    pub(crate) stopping: bool,
}

/// The terminal in its drawing mode; put back when dropped.
pub(crate) struct Screen {
    terminal: Terminal,
    picture: Picture,
}

impl Screen {
    /// Takes the terminal over.
    pub(crate) fn open(context: &Context) -> std::io::Result<Self> {
        let now = runtime::clock::now();
        let picture = Picture {
            parts: context.parts.clone(),
            lines: VecDeque::new(),
            problems: VecDeque::new(),
            before: (now, ObjectCounts::default()),
            now: (now, ObjectCounts::default()),
            data: context.data.path.display().to_string(),
            stopping: false,
        };
        Ok(Self { terminal: ratatui::try_init()?, picture })
    }

    /// Draws until nobody is left who could tell something; Ctrl-C and q begin the shutdown.
    pub(crate) async fn run(
        mut self,
        mut receiver: mpsc::Receiver<Event>,
        problems: Arc<AtomicU64>,
        shutdown: Shutdown,
    ) -> std::io::Result<()> {
        let mut tick = tokio::time::interval(DRAW_EVERY);
        loop {
            tokio::select! {
                event = receiver.recv() => match event {
                    None => return Ok(()),
                    Some(event) => self.picture.take(&event, &problems),
                },
                _ = tick.tick() => {
                    self.keys(&shutdown)?;
                    self.picture.stopping = shutdown.has_begun();
                    self.picture.count();
                    let picture = &self.picture;
                    self.terminal.draw(|frame| draw::draw(frame, picture))?;
                }
            }
        }
    }

    fn keys(&self, shutdown: &Shutdown) -> std::io::Result<()> {
        while crossterm::event::poll(Duration::ZERO)? {
            if let Input::Key(key) = crossterm::event::read()? {
                let control_c = key.code == KeyCode::Char('c') && key.modifiers == KeyModifiers::CONTROL;
                if control_c || key.code == KeyCode::Char('q') {
                    shutdown.begin();
                }
            }
        }
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
        for problem in &self.picture.problems {
            super::report::print(problem, true);
        }
    }
}

impl Picture {
    fn take(&mut self, event: &Event, problems: &AtomicU64) {
        let list = if event.is_problem() {
            problems.fetch_add(1, Ordering::Relaxed);
            &mut self.problems
        } else {
            &mut self.lines
        };
        list.push_back(event.line());
        if list.len() > LINES_MAX {
            list.pop_front();
        }
    }

    fn count(&mut self) {
        let now = runtime::clock::now();
        if now.saturating_duration_since(self.now.0) >= Duration::from_secs(2) {
            let next = (now, self.parts.counts());
            self.before = std::mem::replace(&mut self.now, next);
        }
    }
}
