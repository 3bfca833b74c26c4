// cuDNN's graphs: descriptors, and what the graphs of descriptors compute (fakecudnn_graph.cpp).
#ifndef REMLA_TESTS_EMU_FAKECUDNN_H
#define REMLA_TESTS_EMU_FAKECUDNN_H
#include <cudnn.h>
#include <map>
#include <memory>
#include <stdint.h>
#include <string.h>
#include <vector>

namespace cudnn
{

// Keeps a sentence for cudnnGetLastErrorString.
cudnnStatus_t refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define D(name) CUDNN_BACKEND_##name##_DESCRIPTOR
struct contents;
typedef std::shared_ptr<contents> part;
struct value {
    std::vector<char> bytes;
    std::vector<part> parts;
};
struct contents {
    cudnnBackendDescriptorType_t type;
    bool final = false;
    std::map<int, value> attribute;

    bool has(int name) const { return attribute.count(name) > 0; }
    template <class T> std::vector<T> all(int name) const
    {
        const auto &bytes = attribute.at(name).bytes;
        std::vector<T> v(bytes.size() / sizeof(T));
        memcpy(v.data(), bytes.data(), bytes.size());
        return v;
    }
    template <class T> T get(int name) const { return all<T>(name).at(0); }
    template <class T> T get(int name, T otherwise) const { return has(name) ? get<T>(name) : otherwise; }
    part child(int name) const { return has(name) ? attribute.at(name).parts.at(0) : nullptr; }
};

// Of a tensor's descriptor whose attributes are all there.
cudnnStatus_t check_tensor(const part &p);

// What a graph computes, in float. Null, and a sentence, for what is not a graph.
struct program;
std::shared_ptr<program> program_of(const part &graph);
// Whether every tensor outside the graph has an address of the right kind. Numbers are read here.
bool bind_tensors(program &p, const std::vector<int64_t> &uid, const std::vector<void *> &address);
void run(program &p);

} // namespace cudnn

#endif
