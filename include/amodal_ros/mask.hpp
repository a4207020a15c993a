// Reading amodal_ros/msg/Mask in C++: header only, no dependency but the message type, which is a template argument.

#ifndef AMODAL_ROS__MASK_HPP_
#define AMODAL_ROS__MASK_HPP_

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace amodal_ros
{

/// A view of a packed mask; valid while the message lives.
/// MaskMsg is amodal_ros::msg::Mask, or anything with its fields.
template<class MaskMsg>
class MaskView
{
public:
  /// Throws std::invalid_argument if the data's length does not fit the mask's size.
  explicit MaskView(const MaskMsg & mask)
  : mask_(mask), stride_((static_cast<std::size_t>(mask.width) + 7) / 8)
  {
    const std::size_t expected = stride_ * mask.height;
    if (mask.data.size() != expected) {
      throw std::invalid_argument(
              "packed mask of " + std::to_string(mask.width) + "x" + std::to_string(mask.height) + ": expected " +
              std::to_string(expected) + " bytes, got " + std::to_string(mask.data.size()));
    }
  }

  /// Whether the image's pixel is set; false outside the mask's box. Coordinates may lie outside the image.
  bool at(std::int64_t image_x, std::int64_t image_y) const
  {
    const std::int64_t column = image_x - mask_.x, row = image_y - mask_.y;
    if (column < 0 || row < 0 || column >= mask_.width || row >= mask_.height) {
      return false;
    }
    const auto byte = mask_.data[static_cast<std::size_t>(row) * stride_ + static_cast<std::size_t>(column) / 8];
    return (byte >> (7 - column % 8)) & 1;
  }

  /// Calls visit(image_x, image_y) for every set pixel, row by row; pixels outside the image included.
  template<class Visitor>
  void for_each(Visitor visit) const
  {
    for (std::uint32_t row = 0; row < mask_.height; ++row) {
      for (std::size_t k = 0; k < stride_; ++k) {
        const unsigned bits = mask_.data[row * stride_ + k];
        for (unsigned bit = 0; bits != 0 && bit < 8; ++bit) {
          if ((bits >> (7 - bit)) & 1) {
            visit(
              static_cast<std::int64_t>(mask_.x) + static_cast<std::int64_t>(8 * k + bit),
              static_cast<std::int64_t>(mask_.y) + row);
          }
        }
      }
    }
  }

  /// Number of set pixels, outside the image included.
  std::size_t area() const
  {
    std::size_t count = 0;
    for_each([&count](std::int64_t, std::int64_t) {++count;});
    return count;
  }

private:
  const MaskMsg & mask_;
  std::size_t stride_;
};

/// The mask on a full image: width * height bytes, row by row, 255 where set and 0 elsewhere. What lies outside the
/// image is lost.
template<class MaskMsg>
std::vector<std::uint8_t> unpack(const MaskMsg & mask, std::uint32_t image_width, std::uint32_t image_height)
{
  std::vector<std::uint8_t> image(static_cast<std::size_t>(image_width) * image_height, 0);
  MaskView<MaskMsg>(mask).for_each(
    [&](std::int64_t x, std::int64_t y) {
      if (x >= 0 && y >= 0 && x < image_width && y < image_height) {
        image[static_cast<std::size_t>(y) * image_width + static_cast<std::size_t>(x)] = 255;
      }
    });
  return image;
}

}  // namespace amodal_ros

#endif  // AMODAL_ROS__MASK_HPP_
