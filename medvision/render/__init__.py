"""Pictures of volumes, masks and class probabilities. Knows nothing of files.

`planes` draws a scan as a radiologist looks at it, `heat` lays an explanation over it, `pages` puts
planes and words on one page, `truth` shows where a mask differs from the truth, `viewing` gets
volumes ready for a viewer, and `ink` holds the colors and letters of all.
"""

from medvision.render.heat import heat_panels as heat_panels
from medvision.render.ink import COLORS as COLORS
from medvision.render.ink import label_color as label_color
from medvision.render.pages import overlay_png as overlay_png
from medvision.render.pages import scores_png as scores_png
from medvision.render.planes import PLANES as PLANES
from medvision.render.planes import Plane as Plane
from medvision.render.planes import center_of as center_of
from medvision.render.planes import display_window as display_window
from medvision.render.planes import focus_of as focus_of
from medvision.render.planes import panel_side as panel_side
from medvision.render.planes import plane_images as plane_images
from medvision.render.planes import plane_pixels as plane_pixels
from medvision.render.truth import draw_case as draw_case
from medvision.render.viewing import flat_plane as flat_plane
from medvision.render.viewing import half_size as half_size
from medvision.render.viewing import is_large as is_large
from medvision.render.viewing import viewer_nifti as viewer_nifti
from medvision.render.viewing import windows_of as windows_of
