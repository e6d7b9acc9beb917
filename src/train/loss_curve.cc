#include "train/loss_curve.h"

#include <algorithm>
#include <cmath>

#include "base/result.h"

namespace colony::train {
namespace {

constexpr double kWidth = 720, kHeight = 360, kLeft = 60, kRight = 20, kTop = 40, kBottom = 40;

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      default: out += static_cast<unsigned char>(c) < 32 ? ' ' : c;
    }
  }
  return out;
}

}  // namespace

std::string loss_svg(const LossCurve& curve, const std::string& title) {
  if (curve.updates.empty()) return "";
  double most = 0;
  for (const auto& part : {curve.updates, curve.evaluations}) {
    for (const auto& [step, loss] : part) {
      if (std::isfinite(loss)) most = std::max(most, loss);
    }
  }
  if (!(most > 0)) most = 1;
  const auto last = static_cast<double>(std::max<int64_t>(1, curve.updates.back().first));
  const auto x = [&](double step) { return kLeft + (kWidth - kLeft - kRight) * step / last; };
  const auto y = [&](double loss) { return kHeight - kBottom - (kHeight - kTop - kBottom) * loss / most; };
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{2}\" y=\"24\" font-size=\"14\">{3}</text>\n",
      kWidth, kHeight, kLeft, escaped(title));
  for (int i = 0; i <= 4; ++i) {
    const double loss = most * i / 4, step = last * i / 4;
    svg += fmt::format("<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#ddd\"/><text x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5:.3g}</text>\n",
                       kLeft, kWidth - kRight, y(loss), kLeft - 6, y(loss) + 4, loss);
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:.0f}</text>\n", x(step), kHeight - kBottom + 18, step);
  }
  const auto line = [&](const std::vector<std::pair<int64_t, double>>& points, const char* style) {
    svg += "<polyline fill=\"none\" " + std::string(style) + " points=\"";
    for (const auto& [step, loss] : points) {
      if (std::isfinite(loss)) svg += fmt::format("{:.1f},{:.1f} ", x(static_cast<double>(step)), y(loss));
    }
    svg += "\"/>\n";
  };
  line(curve.updates, "stroke=\"#bcd\" stroke-width=\"1\"");
  std::vector<std::pair<int64_t, double>> smooth;
  double mean = curve.updates.front().second;
  const double keep = std::min(0.95, 1 - 10 / std::max(10.0, static_cast<double>(curve.updates.size())));
  for (const auto& [step, loss] : curve.updates) {
    mean = keep * mean + (1 - keep) * loss;
    smooth.emplace_back(step, mean);
  }
  line(smooth, "stroke=\"#26a\" stroke-width=\"2\"");
  if (!curve.evaluations.empty()) {
    line(curve.evaluations, "stroke=\"#c40\" stroke-width=\"2\"");
    for (const auto& [step, loss] : curve.evaluations) {
      svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"#c40\"/>\n", x(static_cast<double>(step)), y(loss));
    }
  }
  svg += fmt::format("<text x=\"{0}\" y=\"24\" text-anchor=\"end\"><tspan fill=\"#26a\">training</tspan> <tspan fill=\"#c40\">validation</tspan></text>\n</svg>\n",
                     kWidth - kRight);
  return svg;
}

}  // namespace colony::train
