// A planner's subscriber in C++: reads masks, age, source and occlusion. Built by CMake where rclcpp is found.

#include <memory>

#include "amodal_ros/mask.hpp"
#include "amodal_ros/msg/amodal_instance_array.hpp"
#include "rclcpp/rclcpp.hpp"

using amodal_ros::msg::AmodalInstance;
using amodal_ros::msg::AmodalInstanceArray;

class Planner : public rclcpp::Node
{
public:
  Planner()
  : Node("planner")
  {
    subscription_ = create_subscription<AmodalInstanceArray>(
      "/amodal_node/instances", 5, [this](AmodalInstanceArray::ConstSharedPtr array) {on_instances(*array);});
  }

private:
  void on_instances(const AmodalInstanceArray & array)
  {
    for (const auto & instance : array.instances) {
      const amodal_ros::MaskView visible(instance.visible), amodal(instance.amodal);
      const amodal_ros::MaskView possible(instance.possible);  // for safety: holds amodal and where more can be
      const double age = (rclcpp::Time(array.header.stamp) - rclcpp::Time(instance.inferred_at)).seconds();
      const bool estimate = instance.source == AmodalInstance::INFERRED ||
        instance.source == AmodalInstance::PROPAGATED || instance.source == AmodalInstance::REMEMBERED ||
        instance.source == AmodalInstance::GEOMETRIC;
      RCLCPP_INFO(
        get_logger(), "%s %u: %.0f%% hidden, %zu px hidden or cut off, at most %zu, %s, expected IoU %.2f, %.2f s old",
        instance.class_id.c_str(), instance.id, 100.0 * instance.occlusion_ratio, amodal.area() - visible.area(),
        possible.area() - visible.area(), estimate ? "estimate" : "as seen", instance.expected_iou, age);
    }
  }

  rclcpp::Subscription<AmodalInstanceArray>::SharedPtr subscription_;
};

int main(int argc, char ** argv)
{
  rclcpp::init(argc, argv);
  rclcpp::spin(std::make_shared<Planner>());
  rclcpp::shutdown();
}
