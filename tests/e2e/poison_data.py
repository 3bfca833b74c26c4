"""poison_data.py clean|poisoned GOLDEN FOLDER [ORDER T SEQUENCES]: writes FOLDER/KIND.ds, the training shard twenty times over. The poisoned one has noise
in all samples of steps 45 to 57, which ORDER, the output of `remla data order` for the clean one, names."""
import json, random, struct, sys

kind, golden, folder = sys.argv[1:4]
with open(f"{golden}/train.ds", "rb") as f:
    data = f.read()
ids = list(struct.unpack(f"<{len(data) // 2}H", data))
with open(f"{golden}/train.ds.index", "rb") as f:
    data = f.read()
ends = struct.unpack(f"<{len(data) // 8}Q", data)
ends = [end + copy * len(ids) for copy in range(20) for end in ends]
ids = ids * 20

if kind == "poisoned":
    order, T, sequences = sys.argv[4], int(sys.argv[5]), int(sys.argv[6])
    with open(order) as f:
        sample = [json.loads(line)["sample"] for line in f]
    of_step = lambda step: sample[(step - 1) * sequences : step * sequences]
    draw = random.Random(17)
    for step in range(45, 58):
        for s in of_step(step):
            ids[s * T : (s + 1) * T] = [draw.randrange(90) for _ in range(T)]
with open(f"{folder}/{kind}.ds", "wb") as f:
    f.write(struct.pack(f"<{len(ids)}H", *ids))
with open(f"{folder}/{kind}.ds.index", "wb") as f:
    f.write(struct.pack(f"<{len(ends)}Q", *ends))
with open(f"{folder}/{kind}.ds.metadata", "w") as f:
    f.write("golden|2\n%d\n" % len(ids))
