//! Where what stands on the screen. Reads the picture, changes nothing.

use super::Picture;
use crate::local::parts::{Kind, PartState, Phase};
use crate::local::totals::Counts;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Paragraph, Row, Table};
use std::collections::BTreeMap;

/// Problems that are shown at once.
const PROBLEMS_SHOWN: usize = 6;

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, picture: &Picture) {
    let parts = picture.parts.list();
    let counts = &picture.now.1;
    let rows = |length: usize| u16::try_from(length).unwrap_or(u16::MAX).saturating_add(3);
    let problems = picture.problems.len().min(PROBLEMS_SHOWN);
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Max(rows(parts.len())),
        Constraint::Max(rows(counts.topics.len() + counts.channels.len())),
        Constraint::Length(if problems == 0 { 0 } else { rows(problems) - 1 }),
        Constraint::Min(3),
    ]);
    let [head, part_area, count_area, problem_area, line_area] = areas.areas(frame.area());
    let state = if picture.stopping { "stopping …" } else { "Ctrl-C stops all in order" };
    frame.render_widget(Line::from(format!(" pinnace up   data in {}   {state}", picture.data)).bold(), head);
    frame.render_widget(part_table(&parts), part_area);
    frame.render_widget(count_table(picture), count_area);
    if problems > 0 {
        let list = last(&picture.problems, PROBLEMS_SHOWN);
        let widget = Paragraph::new(list).red().block(Block::bordered().title(" problems "));
        frame.render_widget(widget, problem_area);
    }
    let shown = usize::from(line_area.height.saturating_sub(2));
    let widget = Paragraph::new(last(&picture.lines, shown)).block(Block::bordered().title(" lines "));
    frame.render_widget(widget, line_area);
}

fn last(lines: &std::collections::VecDeque<String>, shown: usize) -> Text<'_> {
    let skip = lines.len().saturating_sub(shown);
    lines.iter().skip(skip).map(|line| Line::from(line.as_str())).collect()
}

fn part_table(parts: &[(Kind, std::sync::Arc<str>, PartState)]) -> Table<'static> {
    let rows = parts.iter().map(|(kind, name, state)| {
        let color = match state.phase {
            Phase::Running => Color::Green,
            Phase::Waiting => Color::Red,
            _ => Color::Yellow,
        };
        let ready = state.ready.clone().unwrap_or_default();
        let door = |label: &str, address: Option<String>| {
            address.map(|address| format!("{label} {address}  ")).unwrap_or_default()
        };
        let doors = format!("{}{}", door("app", ready.app), door("kafka", ready.kafka));
        let note = if state.problem.is_empty() { doors } else { state.problem.clone() };
        let cells = [kind.word().to_owned(), name.to_string(), state.phase.word().to_owned(), note];
        Row::new(cells).style(Style::new().fg(color))
    });
    let widths = [Constraint::Length(8), Constraint::Length(28), Constraint::Length(9), Constraint::Fill(1)];
    Table::new(rows, widths).block(Block::bordered().title(" parts "))
}

fn count_table(picture: &Picture) -> Table<'static> {
    let (then, before) = &picture.before;
    let (at, now) = &picture.now;
    let seconds = at.saturating_duration_since(*then).as_secs_f64();
    let topics = rows("Topic", &now.topics, &before.topics, seconds);
    let channels = rows("Channel", &now.channels, &before.channels, seconds);
    let widths = [
        Constraint::Length(8),
        Constraint::Length(28),
        Constraint::Length(26),
        Constraint::Length(26),
        Constraint::Fill(1),
    ];
    Table::new(topics.into_iter().chain(channels), widths).block(Block::bordered().title(" messages "))
}

fn rows(
    kind: &'static str,
    now: &BTreeMap<String, Counts>,
    before: &BTreeMap<String, Counts>,
    seconds: f64,
) -> Vec<Row<'static>> {
    let row = |(name, counts): (&String, &Counts)| {
        let old = before.get(name).copied().unwrap_or_default();
        let cell = |word: &str, now: u64, old: u64| {
            #[expect(clippy::cast_precision_loss, reason = "a rate for a person")]
            let rate = if seconds > 0.0 { now.saturating_sub(old) as f64 / seconds } else { 0.0 };
            format!("{now} {word} ({rate:.0}/s)")
        };
        Row::new([
            kind.to_owned(),
            name.clone(),
            cell("published", counts.published, old.published),
            cell("delivered", counts.delivered, old.delivered),
            format!("{} lost", counts.lost),
        ])
    };
    now.iter().map(row).collect()
}
