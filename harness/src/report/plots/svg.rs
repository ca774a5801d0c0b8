//! A plotters backend that writes SVG which adapts to its surroundings: axes and text take the colour of the page, the
//! background is transparent, and the elements of series `k` carry the class `sk`, so that a page can hide them.
//!
//! Plotters knows colours alone, so [`line_of`] and [`text_of`] stand for a series until this backend writes it.

use plotters::prelude::{DrawingBackend, RGBColor};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingErrorKind};

use super::series::{Pen, pen};
use crate::escape::xml;

/// Size of all text, in pixels.
pub const FONT: i32 = 12;

const LINE: u8 = 1;
const TEXT: u8 = 2;

/// Returns the colour that stands for the lines of a series.
pub fn line_of(series: usize) -> RGBColor {
    RGBColor(LINE, 0, series as u8)
}

/// Returns the colour that stands for the text of a series, which is written in the colour of all text.
pub fn text_of(series: usize) -> RGBColor {
    RGBColor(TEXT, 0, series as u8)
}

/// An SVG document that is being drawn.
pub struct Svg<'a> {
    document: &'a mut String,
    size: (u32, u32),
}

type Drawn = Result<(), DrawingErrorKind<std::io::Error>>;

impl<'a> Svg<'a> {
    /// Starts a document, to which the caller appends the closing tag.
    pub fn new(document: &'a mut String, (width, height): (u32, u32), title: &str) -> Self {
        *document += &format!(
            "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" font-family=\"sans-serif\" font-size=\"{FONT}\">\
             <title>{}</title><style>svg:root{{color-scheme:light dark;color:CanvasText}}</style>",
            xml(title)
        );
        Self { document, size: (width, height) }
    }
}

/// Returns the attributes that give a fill or a stroke its colour and, if it is of a series, its classes.
fn ink(attribute: &str, color: BackendColor) -> String {
    match color.rgb {
        (0, 0, 0) => format!(" {attribute}=\"currentColor\""),
        (LINE, 0, series) => {
            let Pen { hue, colour, .. } = pen(series.into());
            format!(" {attribute}=\"currentColor\" color=\"{colour}\" class=\"s{series} p{hue}\"")
        }
        (TEXT, 0, series) => format!(" {attribute}=\"currentColor\" class=\"s{series}\""),
        (red, green, blue) => format!(" {attribute}=\"#{red:02X}{green:02X}{blue:02X}\""),
    }
}

fn opacity(color: BackendColor) -> String {
    if color.alpha == 1.0 { String::new() } else { format!(" opacity=\"{}\"", color.alpha) }
}

/// Returns the dashes of an opaque line of a series; other lines have none.
fn dashes(color: BackendColor) -> String {
    match color.rgb {
        (LINE, 0, series) if color.alpha == 1.0 => format!(" stroke-dasharray=\"{}\"", pen(series.into()).dash),
        _ => String::new(),
    }
}

fn points(path: impl IntoIterator<Item = BackendCoord>) -> String {
    path.into_iter().map(|(x, y)| format!("{x},{y} ")).collect()
}

impl DrawingBackend for Svg<'_> {
    type ErrorType = std::io::Error;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Drawn {
        if color.alpha > 0.0 {
            let colour = opacity(color) + &ink("fill", color);
            *self.document += &format!("<rect x=\"{x}\" y=\"{y}\" width=\"1\" height=\"1\"{colour}/>");
        }
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        let color = style.color();
        if color.alpha > 0.0 {
            *self.document += &format!(
                "<line{}{} stroke-width=\"{}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
                opacity(color),
                ink("stroke", color),
                style.stroke_width(),
                from.0,
                from.1,
                to.0,
                to.1
            );
        }
        Ok(())
    }

    fn draw_rect<S: BackendStyle>(&mut self, (x, y): BackendCoord, end: BackendCoord, style: &S, fill: bool) -> Drawn {
        let color = style.color();
        if color.alpha > 0.0 {
            let colour = if fill { ink("fill", color) } else { format!(" fill=\"none\"{}", ink("stroke", color)) };
            *self.document += &format!(
                "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\"{}{colour}/>",
                end.0 - x,
                end.1 - y,
                opacity(color)
            );
        }
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        let color = style.color();
        if color.alpha > 0.0 {
            *self.document += &format!(
                "<polyline fill=\"none\"{}{}{} stroke-width=\"{}\" points=\"{}\"/>",
                dashes(color),
                opacity(color),
                ink("stroke", color),
                style.stroke_width(),
                points(path)
            );
        }
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(&mut self, (x, y): BackendCoord, radius: u32, style: &S, fill: bool) -> Drawn {
        let color = style.color();
        if color.alpha > 0.0 {
            let colour = if fill {
                ink("fill", color)
            } else {
                format!(" fill=\"none\"{} stroke-width=\"{}\"", ink("stroke", color), style.stroke_width())
            };
            *self.document += &format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"{}{colour}/>", opacity(color));
        }
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        let color = style.color();
        if color.alpha > 0.0 {
            let colour = opacity(color) + &ink("fill", color);
            *self.document += &format!("<polygon{colour} points=\"{}\"/>", points(path));
        }
        Ok(())
    }

    /// Writes upright text in the one font and size of the document.
    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, (x, y): BackendCoord) -> Drawn {
        let color = style.color();
        if color.alpha > 0.0 {
            let anchor = match style.anchor().h_pos {
                HPos::Left => "start",
                HPos::Right => "end",
                HPos::Center => "middle",
            };
            let dy = match style.anchor().v_pos {
                VPos::Top => "0.76em",
                VPos::Center => "0.5ex",
                VPos::Bottom => "-0.5ex",
            };
            *self.document += &format!(
                "<text x=\"{x}\" y=\"{y}\" dy=\"{dy}\" text-anchor=\"{anchor}\"{}{}>{}</text>",
                opacity(color),
                ink("fill", color),
                xml(text)
            );
        }
        Ok(())
    }
}
